"""In which time zone somebody lives, and who has to know when that changes."""

from collections.abc import Callable

from django.db import transaction

from accounts.models import User

ZoneChanged = Callable[[User], None]
ZoneQuestion = Callable[[User, str], None]
_ON_CHANGE: list[ZoneChanged] = []
_QUESTIONS: list[ZoneQuestion] = []


def ask_before_zone_change(question: ZoneQuestion) -> ZoneQuestion:
    """Register what an app above has to say before a user lives in another zone; it raises ZoneNotConfirmed, or not."""
    _QUESTIONS.append(question)
    return question


def on_zone_change(step: ZoneChanged) -> ZoneChanged:
    """Register what an app above does when a user's time zone has changed; ``step`` runs in the same transaction."""
    _ON_CHANGE.append(step)
    return step


def change_time_zone(user: User, zone: str, *, is_confirmed: bool = False) -> None:
    """Have ``user`` live in ``zone``, a known one.

    Raises ZoneNotConfirmed where that moves something, unless it ``is_confirmed`` by somebody who was shown what, and
    whatever else an app above raises; nothing has changed then.
    """
    if not is_confirmed:
        for question in _QUESTIONS:
            question(user, zone)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(time_zone=zone)
        before, user.time_zone = user.time_zone, zone
        try:
            for step in _ON_CHANGE:
                step(user)
        except BaseException:
            user.time_zone = before
            raise
