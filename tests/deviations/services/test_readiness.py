from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import DeviantArtAccount, Workspace
from deviations.models import Deviation, DeviationFile
from deviations.services.readiness import reasons_against
from tests.factories import DeviantArtAccountFactory, DeviationFactory, DeviationFileFactory

MakeWork = Callable[..., Deviation]


def test_nothing_stands_against_a_work_with_a_title_a_file_and_an_account(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    assert reasons_against(make_work(account)) == {}


def test_all_reasons_come_at_once_by_field(workspace: Workspace) -> None:
    work = DeviationFactory(
        workspace=workspace, title="x" * 51, tags=[f"tag{number}" for number in range(31)], is_mature=True
    )
    reasons = reasons_against(work)
    assert set(reasons) == {"title", "tags", "files", "account_id", "mature_level"}
    assert "51" in reasons["title"][0]
    assert "31" in reasons["tags"][0]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"title": ""}, {"title"}),
        ({"title": "   "}, {"title"}),
        ({"title": "ä" * 50}, set()),
        ({"title": "ä" * 51}, {"title"}),
        ({"tags": [f"tag{number}" for number in range(30)]}, set()),
        # DeviantArt gets each tag once, and none of what is left empty of one.
        ({"tags": [f"tag{number}" for number in range(30)] + ["TAG1", "日本"]}, set()),
        ({"is_mature": True}, {"mature_level"}),
        ({"is_mature": True, "mature_level": "strict"}, set()),
        ({"is_mature": False}, set()),
    ],
)
def test_what_deviantart_would_refuse_of_the_words_is_named(
    make_work: MakeWork, account: DeviantArtAccount, fields: dict[str, Any], refused: set[str]
) -> None:
    assert set(reasons_against(make_work(account, **fields))) == refused


def test_one_deviation_has_exactly_one_file(make_work: MakeWork, account: DeviantArtAccount) -> None:
    assert set(reasons_against(make_work(account, files=2))) == {"upload_mode"}
    assert reasons_against(make_work(account, files=2, upload_mode=Deviation.UploadMode.MULTIPLE)) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"content_type": "image/tiff"},
        {"size": 50 * 1024**2 + 1},
        {"media_state": DeviationFile.MediaState.FAILED},
    ],
)
def test_a_file_that_cannot_be_published_is_named(
    make_work: MakeWork, account: DeviantArtAccount, fields: dict[str, Any]
) -> None:
    work = make_work(account, files=0)
    DeviationFileFactory(deviation=work, original_name="harbour.tif", **fields)
    (reason,) = reasons_against(work)["files"]
    assert "harbour.tif" in reason


def test_a_file_that_is_still_being_prepared_stands_against_nothing(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    work = make_work(account, files=0)
    DeviationFileFactory(deviation=work, media_state=DeviationFile.MediaState.PENDING)
    assert reasons_against(work) == {}


def test_a_work_without_an_account_goes_to_the_only_one(make_work: MakeWork, account: DeviantArtAccount) -> None:
    work = make_work(account)
    Deviation.objects.update(account=None)
    work.refresh_from_db()
    assert reasons_against(work) == {}
    DeviantArtAccountFactory(workspace=account.workspace)
    assert set(reasons_against(work)) == {"account_id"}


def test_a_disconnected_account_stands_against_it_and_a_lost_login_does_not(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    work = make_work(account)
    account.state = DeviantArtAccount.State.REAUTH_REQUIRED
    assert reasons_against(work) == {}, "it is held and goes on once the artist has signed in again"
    account.state = DeviantArtAccount.State.DISCONNECTED
    work.account = account
    assert account.username in reasons_against(work)["account_id"][0]
