"""Do these settings make sense together?"""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured


@register()
def settings_fit_each_other(**_options: Any) -> list[CheckMessage]:
    """A wait that is shorter than the one inside it, for one, lets two workers hold the same work."""
    problems = [
        (
            settings.CELERY_VISIBILITY_TIMEOUT < settings.PUBLISHER_JOB_TIMEOUT_SECONDS + 60,
            "PUBLISHER_JOB_TIMEOUT_MS must stay at least 60 s below the visibility timeout of the queue (900 s).",
        ),
        (
            settings.PUBLISHER_LEASE_SECONDS < 3 * settings.PUBLISHER_HEARTBEAT_SECONDS,
            "PUBLISHER_LEASE must be at least three times PUBLISHER_HEARTBEAT.",
        ),
        (
            settings.PUBLISHER_DRAIN_SECONDS <= settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS,
            "PUBLISHER_DRAIN must be longer than DEVIANTART_PUBLISH_DEADLINE_SECONDS.",
        ),
        (
            settings.DEVIANTART_SUBMIT_DEADLINE_SECONDS >= settings.PUBLISHER_JOB_TIMEOUT_SECONDS,
            "DEVIANTART_SUBMIT_DEADLINE_SECONDS must be shorter than PUBLISHER_JOB_TIMEOUT_MS.",
        ),
        (
            settings.TOKEN_REFRESH_LEASE_SECONDS <= settings.DEVIANTART_TOKEN_DEADLINE_SECONDS,
            "TOKEN_REFRESH_LEASE must be longer than DEVIANTART_TOKEN_DEADLINE_SECONDS.",
        ),
        (
            settings.ISEKAI_HTTPS and settings.STORAGE_ORIGIN.startswith("http://"),
            "S3_PRESIGNED_ENDPOINT must start with https:// while ISEKAI_HTTPS is on: browsers refuse to upload to it.",
        ),
    ]
    return [Error(text, id=f"isekai.E{number:03}") for number, (wrong, text) in enumerate(problems, 1) if wrong]


def stop_if_wrong() -> None:
    """For the starts that run no system checks, web's and the workers'; raises ImproperlyConfigured."""
    if problems := settings_fit_each_other():
        raise ImproperlyConfigured(" ".join(str(problem.msg) for problem in problems))
