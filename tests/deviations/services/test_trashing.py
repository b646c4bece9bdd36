from collections.abc import Callable
from datetime import timedelta

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.models import Deviation
from deviations.services.scheduling import schedule_as_before, schedule_deviation
from deviations.services.trashing import restore_deviation, restore_many, trash_deviation
from isekai import clock
from tests.unchanged import everything

MakeWork = Callable[..., Deviation]


def test_a_work_goes_into_the_trash_and_comes_back_as_it_was(
    make_work: MakeWork, account: DeviantArtAccount, artist: User
) -> None:
    work = make_work(account, title="Dunes")
    work = trash_deviation(work, user=artist)
    assert work.trashed_at is not None
    assert not Deviation.objects.kept().exists()
    work = restore_deviation(work, user=artist)
    work.refresh_from_db()
    assert (work.trashed_at, work.status, work.title) == (None, "draft", "Dunes")
    assert work.files.count() == 1
    assert list(AuditEvent.objects.order_by("id").values_list("verb", "user")) == [
        ("deviation.trashed", artist.pk),
        ("deviation.restored", artist.pk),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "failed", "reason_code": "refused"},
        {"status": "published", "published_at": clock.now()},
        {"status": "review"},
        {"status": "needs_decision", "reason_code": "late"},
    ],
)
def test_what_is_not_on_its_way_keeps_its_state_in_the_trash(
    make_work: MakeWork, account: DeviantArtAccount, fields: dict[str, object]
) -> None:
    work = trash_deviation(make_work(account, **fields), user=None)
    assert work.status == fields["status"]
    restored = restore_deviation(work, user=None)
    assert (restored.status, restored.reason_code) == (fields["status"], fields.get("reason_code", ""))


def test_a_scheduled_work_is_cancelled_with_it_and_keeps_its_former_time(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    moment = clock.now() + timedelta(hours=1)
    work = schedule_deviation(make_work(account), user=None, scheduled_at=moment)
    work = trash_deviation(work, user=None)
    assert (work.status, work.publish_at, work.previous_publish_at) == ("draft", None, moment)
    verbs = list(AuditEvent.objects.order_by("id").values_list("verb", flat=True))
    assert verbs == ["deviation.scheduled", "deviation.cancelled", "deviation.trashed"]
    work = restore_deviation(work, user=None)
    assert work.status == "draft"
    assert schedule_as_before(work, user=None).publish_at == moment


def test_doing_it_twice_is_doing_it_once(make_work: MakeWork, account: DeviantArtAccount) -> None:
    work = make_work(account)
    before = everything()
    restore_deviation(work, user=None)
    restore_many(Deviation.objects.all(), user=None, ids=[work.pk])
    assert everything() == before
    trash_deviation(work, user=None)
    before = everything()
    trash_deviation(work, user=None)
    assert everything() == before
