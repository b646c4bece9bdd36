"""Beats, clocks and drafts for tests of what comes of rules over hours and days."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import DeviantArtAccount, Workspace
from automations.models import Automation, Execution, ExecutionWork
from automations.services.materialising import schedule_due
from automations.services.saving import create_automation
from deviations.models import Deviation, DeviationFile

SetClock = Callable[[datetime], None]

BERLIN = "Europe/Berlin"
MONDAY = date(2030, 1, 7)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(hour: int, minute: int = 0, *, day: date = MONDAY, zone: str = BERLIN) -> datetime:
    """The instant of that time on the wall."""
    return datetime.combine(day, time(hour, minute), ZoneInfo(zone)).astimezone(UTC)


def make_automation(account: DeviantArtAccount, *rules: Mapping[str, Any], **fields: Any) -> Automation:
    """An automation for the account as an artist makes it: switched on, by default oldest first and without a delay."""
    return create_automation(
        account.workspace,
        user=None,
        rules=rules,
        enabled=True,
        **{"name": "Posting", "account_id": account.pk, "jitter_max_seconds": 0, **fields},
    )


def make_drafts(workspace: Workspace, count: int, *, made_at: datetime, **fields: Any) -> list[Deviation]:
    """Ready drafts with a file each, the oldest first, a minute apart, the last of them made at ``made_at``."""
    before = Deviation.objects.filter(workspace=workspace).count()
    drafts = [
        Deviation(
            workspace=workspace,
            **{
                "title": f"Work {before + number}",
                "created_at": made_at - (count - 1 - number) * MINUTE,
                "updated_at": made_at,
                "ready_at": made_at,
                **fields,
            },
        )
        for number in range(count)
    ]
    Deviation.objects.bulk_create(drafts)
    DeviationFile.objects.bulk_create(_file_of(draft) for draft in drafts)
    return drafts


def _file_of(draft: Deviation) -> DeviationFile:
    return DeviationFile(
        deviation=draft,
        position=0,
        original_name="picture.png",
        storage_key=f"originals/{draft.pk}",
        content_type="image/png",
        size=1000,
        width=100,
        height=80,
        sha256="0" * 64,
        media_state=DeviationFile.MediaState.READY,
    )


def tick_through(set_clock: SetClock, start: datetime, end: datetime, *, every: timedelta = 5 * MINUTE) -> None:
    """A tick at ``start`` and each time that ``every`` has passed, up to ``end``."""
    for moment in moments(start, end, every):
        set_clock(moment)
        schedule_due()


def moments(start: datetime, end: datetime, every: timedelta) -> Iterator[datetime]:
    while start <= end:
        yield start
        start += every


def times_of(automation: Automation, zone: str = BERLIN) -> list[str]:
    """When its works go out, on the wall, as ``07 09:00``: the day of the month and the time."""
    works = ExecutionWork.objects.filter(execution__automation=automation, released_at__isnull=True)
    found = sorted(works.values_list("publish_at", flat=True))
    return [moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M") for moment in found]


def works_by_rule(automation: Automation) -> Counter[UUID | None]:
    works = ExecutionWork.objects.filter(execution__automation=automation, released_at__isnull=True)
    return Counter(works.values_list("execution__rule", flat=True))


def outcomes(automation: Automation) -> Counter[str]:
    return Counter(Execution.objects.filter(automation=automation).values_list("outcome", flat=True))
