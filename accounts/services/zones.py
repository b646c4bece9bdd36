"""In which time zone somebody lives, and who has to know when that changes."""

from collections.abc import Callable

from django.db import transaction

from accounts.models import User

ZoneChanged = Callable[[User], None]
_ON_CHANGE: list[ZoneChanged] = []


def on_zone_change(step: ZoneChanged) -> ZoneChanged:
    """Register what an app above does when a user's time zone has changed; ``step`` runs in the same transaction."""
    _ON_CHANGE.append(step)
    return step


def change_time_zone(user: User, zone: str) -> None:
    """Have ``user`` live in ``zone``, a known one. Raises whatever an app above raises; nothing has changed then."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(time_zone=zone)
        before, user.time_zone = user.time_zone, zone
        try:
            for step in _ON_CHANGE:
                step(user)
        except BaseException:
            user.time_zone = before
            raise
