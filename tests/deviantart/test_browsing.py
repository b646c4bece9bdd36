"""Looking around, against the sandbox."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from deviantart import errors
from deviantart.client import Client, entries, pages
from deviantart.types import Deviation, Page
from tests.deviantart.test_client import artist, publish, submit
from tests.sandbox_process import SandboxProcess


def live(client: Client, title: str, **options: Any) -> str:
    return str(publish(client, submit(client, title=title), **options).deviation_id)


def test_one_work_is_read(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    deviation_id = live(client, "Night sky", allow_comments=False)
    work = client.deviation(deviation_id)
    assert (work.deviation_id, work.title, work.is_published) == (deviation_id, "Night sky", True)
    assert (work.is_downloadable, work.allows_comments, work.favourites) == (False, False, 0)


def test_a_work_that_does_not_exist_is_not_found(sandbox: SandboxProcess) -> None:
    with pytest.raises(errors.NotFound) as raised:
        artist(sandbox).deviation("4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2")
    assert raised.value.error_code == 0


def test_a_work_that_was_deleted_says_so_and_little_else(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    deviation_id = live(client, "Night sky")
    sandbox.delete_deviation("artist")
    work = client.deviation(deviation_id)
    assert (work.is_deleted, work.title, work.url) == (True, "", None)


def test_a_file_is_downloaded_when_its_artist_gives_it_away(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    found = client.download(live(client, "Given", allow_free_download=True))
    assert (found.filename, found.size) == ("night.png", len(client.picture(found.url, 1_000_000)))
    with pytest.raises(errors.NotDownloadable):
        client.download(live(client, "Kept"))
    with pytest.raises(errors.NotFound):
        client.download("4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2")


def test_a_profile_is_read(sandbox: SandboxProcess) -> None:
    client = artist(sandbox, "anna")
    live(client, "One")
    found = artist(sandbox, "berta").profile("anna")
    assert (found.user.username, found.deviations, found.is_watching) == ("anna", 1, False)
    assert found.url == f"{sandbox.base_url}/anna"


@pytest.mark.parametrize(("state", "found"), [("suspended", errors.AccountGone), ("inactive", errors.AccountGone)])
def test_an_account_that_is_gone_has_no_profile(
    sandbox: SandboxProcess, state: str, found: type[errors.DeviantArtError]
) -> None:
    sandbox.users("anna", state=state)
    with pytest.raises(found):
        artist(sandbox, "berta").profile("anna")
    with pytest.raises(errors.NotFound):
        artist(sandbox, "berta").profile("nobody")


@pytest.mark.parametrize("name", ["", ".", "..", "..."])
def test_a_name_that_would_lead_to_another_path_is_not_asked_for(sandbox: SandboxProcess, name: str) -> None:
    client = artist(sandbox)
    for call in (client.profile, client.deviation, client.download, client.gallery_folder, client.remove_folder):
        with pytest.raises(ValueError, match="names nothing"):
            call(name)
    assert sandbox.ledger()["requests"] == []


def test_a_name_is_one_piece_of_the_path_whatever_is_in_it(sandbox: SandboxProcess) -> None:
    with pytest.raises(errors.DeviantArtError):
        artist(sandbox).profile("anna/../../whoami?x=1")
    (request,) = sandbox.ledger()["requests"]
    assert request["path"].startswith("/api/v1/oauth2/user/profile/anna")


LISTS: dict[str, Callable[..., Page[Deviation]]] = {
    "home": Client.browse_home,
    "watched": Client.browse_deviants_you_watch,
    "tag": lambda client, **options: client.browse_tag("night", **options),
    "topic": lambda client, **options: client.browse_topic("night", **options),
}


@pytest.fixture
def watcher(sandbox: SandboxProcess) -> Client:
    """Berta, who watches Anna, who has five works."""
    anna = artist(sandbox, "anna")
    for number in range(5):
        live(anna, f"Night {number}", tags=["night", "sky"])
    client = artist(sandbox, "berta")
    sandbox.users("berta", watches=["anna"])
    return client


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_page_by_page(watcher: Client, name: str) -> None:
    read = list(pages(lambda **options: LISTS[name](watcher, **options), limit=2))
    assert [len(page.results) for page in read] == [2, 2, 1]
    assert {work.title for page in read for work in page.results} == {f"Night {number}" for number in range(5)}
    assert len(list(entries(iter(read)))) == 5


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [0, 51])
def test_a_page_of_a_size_that_does_not_exist_is_not_asked_for(
    sandbox: SandboxProcess, watcher: Client, name: str, limit: int
) -> None:
    before = len(sandbox.ledger()["requests"])
    with pytest.raises(ValueError, match="has 1 to"):
        LISTS[name](watcher, limit=limit)
    assert len(sandbox.ledger()["requests"]) == before


def test_mature_works_are_shown_on_request(sandbox: SandboxProcess) -> None:
    live(artist(sandbox), "Night", is_mature=True, mature_level="strict", tags=["night"])
    client = artist(sandbox, "berta")
    assert client.browse_tag("night").results == ()
    assert len(client.browse_tag("night", mature_content=True, mode="newest").results) == 1


def test_tags_are_found_by_their_beginning(watcher: Client) -> None:
    assert watcher.search_tags("nig") == ("night",)
    with pytest.raises(errors.Rejected):
        watcher.search_tags("ni")


def test_topics_come_with_examples(watcher: Client) -> None:
    found = {topic.canonical_name: topic for topic in entries(pages(watcher.browse_topics))}
    assert len(found) > 10
    assert len(found["night"].examples) == 5
    assert all(topic.canonical_name in found for topic in watcher.browse_top_topics())


def test_the_daily_deviations_of_a_day_are_read(watcher: Client) -> None:
    assert len(watcher.browse_daily()) == 5
    assert watcher.browse_daily(date(2020, 1, 1)) == ()


def test_more_like_a_work_is_found(sandbox: SandboxProcess, watcher: Client) -> None:
    seed = live(watcher, "Mine", tags=["sky"])
    found = watcher.more_like_this(seed)
    assert (found.seed, found.of_artist) == (seed, ())
    assert found.author is not None
    assert {work.author.username for work in found.of_others if work.author} == {"anna"}
    with pytest.raises(errors.NotFound):
        watcher.more_like_this("4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2")
