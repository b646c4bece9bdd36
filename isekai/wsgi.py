"""What gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from isekai.checks import stop_if_wrong

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "isekai.settings")

stop_if_wrong()
application = get_wsgi_application()
