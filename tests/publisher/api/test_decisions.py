"""Decisions by the API: the wire; what follows from them is tested at the services."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import AuditEvent
from deviations.models import Deviation
from isekai import clock
from publisher.models import Publication
from publisher.services.confirming import Sighting
from tests.factories import DueDeviationFactory, UserFactory
from tests.publisher.undecided import late, partly_live, unconfirmed

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isekai.queue._send_now", lambda *_arguments: None)


@pytest.fixture
def unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("publisher.services.confirming.look_for", lambda *_arguments: Sighting(None))


def of_owner(work: Deviation) -> APIClient:
    client = APIClient()
    client.force_login(work.workspace.memberships.get().user)
    return client


def decide(work: Deviation, decision: str, **body: Any) -> Any:
    path = f"/api/deviations/{work.pk}/decide/"
    return of_owner(work).post(path, {"decision": decision, **body}, format="json")


def address(work: Deviation) -> str:
    assert work.account is not None
    return f"{work.account.base_url}/{work.account.username}/art/Kite-77"


@pytest.mark.parametrize(
    ("decision", "status"), [("publish_now", "scheduled"), ("schedule", "scheduled"), ("draft", "draft")]
)
def test_what_is_not_live_goes_on_as_decided(decision: str, status: str) -> None:
    work = unconfirmed()
    body = {"scheduled_at": (clock.now() + timedelta(hours=1)).isoformat()} if decision == "schedule" else {}
    answer = decide(work, decision, confirm_not_live=True, **body)
    assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, status, None)
    assert answer["ETag"] == answer.json()["etag"]


@pytest.mark.parametrize("word", [{}, {"confirm_not_live": False}])
def test_without_the_callers_word_it_is_409_with_the_field_in_which_to_give_it(word: dict[str, Any]) -> None:
    answer = decide(unconfirmed(), "publish_now", **word)
    assert (answer.status_code, answer.json()["code"]) == (409, "confirmation_needed")
    assert "twice" in answer.json()["message"]
    assert list(answer.json()["details"]) == ["confirm_not_live"]


@pytest.mark.parametrize(
    ("decision", "body"),
    [
        ("draft", {"confirm_not_live": True}),
        ("look_again", {}),
        ("live", {"url": "https://www.deviantart.com/x/art/Kite-77", "confirm_by_hand": True}),
    ],
)
def test_a_decision_about_what_was_changed_since_it_was_seen_is_412(
    decision: str, body: dict[str, Any], unseen: None
) -> None:
    work = unconfirmed()
    if "url" in body:
        body = {**body, "url": address(work)}
    seen, path = work.version, f"/api/deviations/{work.pk}/decide/"
    Deviation.objects.filter(pk=work.pk).update(version=seen + 1)
    said = {"decision": decision, **body}
    answer = of_owner(work).post(path, said, format="json", headers={"If-Match": f'"{seen}"'})
    assert (answer.status_code, answer.json()["code"]) == (412, "version_conflict")
    answer = of_owner(work).post(path, said, format="json", headers={"If-Match": f'"{seen + 1}"'})
    assert answer.status_code == 200


def test_a_late_work_needs_no_word() -> None:
    assert decide(late(), "publish_now").status_code == 200


def test_while_a_call_may_be_under_way_it_is_409_being_confirmed() -> None:
    work = unconfirmed()
    work.publications.get().attempts.update(started_at=clock.now())
    answer = decide(work, "draft", confirm_not_live=True)
    assert (answer.status_code, answer.json()["code"]) == (409, "being_confirmed")


@pytest.mark.usefixtures("unseen")
def test_where_it_cannot_be_seen_the_word_is_asked_for_and_then_taken() -> None:
    work = unconfirmed()
    first = decide(work, "live", url=address(work))
    assert (first.status_code, first.json()["code"]) == (409, "confirmation_needed")
    assert list(first.json()["details"]) == ["confirm_by_hand"]
    second = decide(work, "live", url=address(work), confirm_by_hand=True)
    assert (second.status_code, second.json()["status"]) == (200, "published")
    (shown,) = second.json()["publications"]
    assert (shown["url"], shown["deviationid"]) == (address(work), None)


@pytest.mark.usefixtures("unseen")
def test_an_address_of_another_work_is_409_and_one_that_is_none_400() -> None:
    other = unconfirmed()
    assert decide(other, "live", url=address(other), confirm_by_hand=True).status_code == 200
    work = unconfirmed(account=other.account, workspace=other.workspace)
    taken = decide(work, "live", url=address(other), confirm_by_hand=True)
    assert (taken.status_code, taken.json()["code"]) == (409, "address_taken")
    wrong = decide(work, "live", url="https://evil.example/a/art/b-1", confirm_by_hand=True)
    assert (wrong.status_code, wrong.json()["code"], list(wrong.json()["details"])) == (400, "invalid", ["url"])


@pytest.mark.usefixtures("unseen")
def test_a_part_is_named_by_its_file() -> None:
    work = partly_live(lambda *_bodies, **fields: DueDeviationFactory(files=2, **fields))
    file_id = Publication.objects.unconfirmed().get(deviation=work).file_id
    answer = decide(work, "live", url=address(work), file_id=str(file_id), confirm_by_hand=True)
    assert (answer.status_code, answer.json()["status"]) == (200, "published")


def test_another_look_can_be_asked_for() -> None:
    assert decide(unconfirmed(), "look_again").json()["status"] == "publishing"


@pytest.mark.parametrize(
    ("decision", "body", "field"),
    [
        ("wait", {}, "decision"),
        ("draft", {"scheduled_at": "2031-01-01T00:00:00Z"}, "scheduled_at"),
        ("draft", {"url": "https://www.deviantart.com/a/art/b-1"}, "url"),
        ("live", {"jitter_seconds": 5}, "jitter_seconds"),
        ("schedule", {}, "scheduled_at"),
        ("draft", {"surprise": 1}, "surprise"),
        ("live", {"file_id": "moth"}, "file_id"),
    ],
)
def test_what_does_not_belong_to_a_decision_is_refused_by_its_name(decision: str, body: Any, field: str) -> None:
    work = unconfirmed()
    answer = decide(work, decision, confirm_not_live=True, **body)
    assert (answer.status_code, answer.json()["code"], list(answer.json()["details"])) == (400, "invalid", [field])
    assert Deviation.objects.get(pk=work.pk).status == "needs_decision"


# --- many ------------------------------------------------------------------------------------------------------------
def decide_all(work: Deviation, decision: str, **body: Any) -> Any:
    return of_owner(work).post("/api/decisions/", {"decision": decision, **body}, format="json")


def test_many_are_decided_with_a_result_for_each_and_one_id() -> None:
    work = unconfirmed()
    fine = DueDeviationFactory(workspace=work.workspace, account=work.account)
    answer = decide_all(work, "draft", ids=[str(work.pk), str(fine.pk)], confirm_not_live=True)
    assert answer.status_code == 200
    first, second = answer.json()["results"]
    assert (first["ok"], first["status"]) == (True, "draft")
    assert (second["ok"], second["error"]["code"]) == (False, "invalid_transition")
    assert AuditEvent.objects.filter(params__bulk_id=answer.json()["bulk_id"], subject_id=work.pk).exists()


def test_without_the_word_each_doubtful_one_refuses_and_the_late_one_goes() -> None:
    work = unconfirmed()
    other = late(workspace=work.workspace, account=work.account)
    answer = decide_all(work, "publish_now", ids=[str(work.pk), str(other.pk)])
    assert [item["ok"] for item in answer.json()["results"]] == [False, True]
    assert answer.json()["results"][0]["error"]["code"] == "confirmation_needed"


def test_many_are_looked_for_again() -> None:
    work = unconfirmed()
    answer = decide_all(work, "look_again", ids=[str(work.pk)])
    assert answer.json()["results"][0]["status"] == "publishing"


def test_all_late_works_of_an_account_are_answered_for_at_once() -> None:
    first = late()
    second = late(workspace=first.workspace, account=first.account)
    doubtful = unconfirmed(workspace=first.workspace, account=first.account)
    answer = decide_all(first, "draft", late_of_account=str(first.account_id))
    assert {item["id"] for item in answer.json()["results"]} == {str(first.pk), str(second.pk)}
    assert Deviation.objects.get(pk=doubtful.pk).status == "needs_decision"


def test_the_late_works_of_a_stranger_are_not_found() -> None:
    theirs = late()
    client = APIClient()
    client.force_login(UserFactory())
    body = {"decision": "draft", "late_of_account": str(theirs.account_id)}
    assert client.post("/api/decisions/", body, format="json").status_code == 404
    assert Deviation.objects.get(pk=theirs.pk).status == "needs_decision"


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"ids": ["moth"]}, {"ids": ["%(work)s"], "late_of_account": "%(account)s"}]
)
def test_which_works_has_to_be_said_in_one_way(body: dict[str, Any]) -> None:
    work = late()
    ids = {"work": str(work.pk), "account": str(work.account_id)}
    said = {name: [one % ids for one in v] if isinstance(v, list) else v % ids for name, v in body.items()}
    assert decide_all(work, "draft", **said).status_code == 400
