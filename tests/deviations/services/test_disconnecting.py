"""An account is disconnected only while nothing of it is on its way; what is scheduled waits."""

from datetime import timedelta

import pytest

from accounts.errors import AccountBusy
from accounts.models import DeviantArtAccount
from accounts.services.connecting import disconnect_account
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from tests.factories import DueDeviationFactory, UserFactory

Status = Deviation.Status


@pytest.mark.parametrize(
    "columns",
    [
        {"status": Status.UPLOADING, "lease_id": new_id(), "worker_id": new_id()},
        {"status": Status.PUBLISHING, "lease_id": new_id(), "worker_id": new_id()},
        # Nobody holds it, and nobody knows whether it is live: its login is needed to look.
        {
            "status": Status.PUBLISHING,
            "unconfirmed_since": clock.now(),
            "next_attempt_at": clock.now() + timedelta(hours=1),
        },
    ],
    ids=["uploading", "publishing", "unconfirmed"],
)
def test_an_account_with_something_on_its_way_stays_connected(db, columns):
    work = DueDeviationFactory(files=0)
    Deviation.objects.filter(pk=work.pk).update(**columns)
    with pytest.raises(AccountBusy):
        disconnect_account(work.account, user=UserFactory())
    assert DeviantArtAccount.objects.get().state == DeviantArtAccount.State.ACTIVE


def test_what_is_scheduled_keeps_its_time_and_waits(db):
    work = DueDeviationFactory(files=0)
    disconnect_account(work.account, user=UserFactory())
    after = Deviation.objects.get()
    assert (after.status, after.publish_at, after.version) == (Status.SCHEDULED, work.publish_at, work.version)
    assert after.account is not None
    assert after.account.is_held
    assert not DeviantArtAccount.objects.able().exists()
