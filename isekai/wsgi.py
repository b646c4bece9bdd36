"""What gunicorn serves."""

import os

import structlog
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError

from isekai.checks import stop_if_wrong

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "isekai.settings")

stop_if_wrong()
application = get_wsgi_application()


def verify_keys_at_start() -> None:
    """Refuse to serve with encryption keys that do not fit the database; without a database there is nothing to fit."""
    from accounts.services.secrets import verify_keys  # the apps have to be loaded first

    try:
        verify_keys()
    except DatabaseError as error:
        structlog.get_logger(__name__).warning("encryption_keys_not_verified", error=type(error).__name__)


verify_keys_at_start()
