"""`manage restored`: what an operator sees of a database that has forgotten, and may do about it."""

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from isekai import clock
from publisher.models import GalleryCheck
from publisher.services import marks
from publisher.services.marks import Mark
from tests.factories import DeviantArtAccountFactory


@pytest.fixture(autouse=True)
def installation(transactional_db: None) -> Iterator[None]:
    marks.become_another_installation()
    yield
    marks.forget_everything()


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("restored", *arguments, stdout=out)
    return out.getvalue()


def forget_some() -> None:
    marks._write_to_redis(marks.installation_name(), Mark((4711,), clock.now()))


def test_it_shows_what_is_lacking():
    assert "the database lacks: 0" in said()
    forget_some()
    assert "the database lacks: 1" in said()


def test_comparing_by_hand_does_what_a_publisher_does_at_its_start():
    account = DeviantArtAccountFactory()
    assert "The database knows everything." in said("--compare")
    forget_some()
    assert account.username in said("--compare")
    assert GalleryCheck.objects.pending().count() == 1


def test_one_account_or_all_of_them_may_go_on_unchecked():
    one, _two, _three = (DeviantArtAccountFactory() for _number in range(3))
    forget_some()
    said("--compare")
    assert "Accounts that go on: 1." in said("--lift", one.username, "--yes")
    assert "Accounts that go on: 2." in said("--lift", "all", "--yes")
    with pytest.raises(CommandError):
        said("--lift", one.username, "--yes")


def test_nothing_is_lifted_without_a_yes(monkeypatch: pytest.MonkeyPatch):
    account = DeviantArtAccountFactory()
    forget_some()
    said("--compare")
    monkeypatch.setattr("builtins.input", lambda _question: "no")
    with pytest.raises(CommandError):
        said("--lift", str(account.pk))
    assert GalleryCheck.objects.pending().count() == 1


def test_a_check_may_be_done_at_once():
    account = DeviantArtAccountFactory()
    forget_some()
    said("--compare")
    said("--check", account.username)
    assert GalleryCheck.objects.get().next_try_at <= clock.now()


def test_a_copy_beside_its_original_is_not_behind_it():
    forget_some()
    said("--separate", "--yes")
    assert "The database knows everything." in said("--compare")
