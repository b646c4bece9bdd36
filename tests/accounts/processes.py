"""What a process needs that works on the database of the test that starts it."""

import os
from urllib.parse import quote

from django.db import connection


def environment_of_this_test(**more: str) -> dict[str, str]:
    at = connection.settings_dict
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "isekai.settings",
        "DATABASE_URL": f"postgresql://{at['USER']}:{quote(at['PASSWORD'])}@{at['HOST']}:{at['PORT']}/{at['NAME']}",
        **more,
    }
