from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import DeviantArtAccount, User, Workspace
from deviations.models import Deviation, Upload
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication
from tests.factories import DeviantArtAccountFactory, DeviationFileFactory, PublishVariantFactory
from tests.unchanged import everything

MakeUpload = Callable[..., Upload]
MakeWork = Callable[..., Deviation]
WORKS = "/api/deviations/"


def url_of(work: Deviation | str | UUID, rest: str = "") -> str:
    return f"{WORKS}{work.pk if isinstance(work, Deviation) else work}/{rest}"


def in_an_hour() -> str:
    return (clock.now() + timedelta(hours=1)).isoformat()


# --- making and reading ----------------------------------------------------------------------------------------------
def test_a_draft_is_made_of_uploads_and_answered_whole(
    api: APIClient, workspace: Workspace, account: DeviantArtAccount, make_upload: MakeUpload
) -> None:
    upload = make_upload(workspace)
    answer = api.post(
        WORKS,
        {
            "title": "Harbour at night",
            "description": "Oil\non canvas",
            "tags": ["夜景", "#oil painting"],
            "upload_ids": [str(upload.pk)],
            "is_mature": False,
        },
        format="json",
    )
    assert answer.status_code == 201, answer.data
    body = answer.json()
    assert body["status"] == "draft"
    assert body["account_id"] == str(account.pk)
    assert (body["is_mature"], body["no_ai"]) == (False, None)
    assert (body["tags"], body["tags_as_shown"]) == (["夜景", "oil painting"], ["oilpainting"])
    assert (body["etag"], answer["ETag"]) == ('"1"', '"1"')
    (file,) = body["files"]
    assert (file["sha256"], file["publish_sha256"], file["media_state"]) == (upload.sha256, None, "pending")
    assert (body["publications"], body["reason"]) == ([], None)
    assert api.get(url_of(body["id"])).json() == body


def test_a_work_shows_its_files_and_where_it_is_live(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account, files=0, status="published", published_at=clock.now())
    variant = PublishVariantFactory(file=DeviationFileFactory(deviation=work))
    Publication.objects.create(
        deviation=work,
        file=variant.file,
        account=account,
        state="published",
        published_at=clock.now(),
        remote_deviation_id="3A5B",
        url="https://www.deviantart.com/a/art/b-1",
    )
    body = api.get(url_of(work)).json()
    assert body["files"][0]["publish_sha256"] == variant.sha256
    (publication,) = body["publications"]
    assert publication["deviationid"] == "3A5B"
    assert publication["url"] == "https://www.deviantart.com/a/art/b-1"
    assert publication["state"] == "published"


def test_why_a_work_failed_is_a_code_and_a_sentence(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    for code, word in (("refused", "refused"), ("late", "in time"), ("something_new", "did not go out")):
        reason = api.get(url_of(make_work(account, status="failed", reason_code=code))).json()["reason"]
        assert reason["code"] == code
        assert word in reason["message"]


@pytest.mark.parametrize("key", ["storage_key", "lease_id", "worker_id", "workspace_id", "token"])
def test_an_answer_has_nothing_inner(api: APIClient, account: DeviantArtAccount, make_work: MakeWork, key: str) -> None:
    work = make_work(account)
    PublishVariantFactory(file=work.files.get())
    assert key not in api.get(url_of(work)).content.decode()


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [("reading", 409, "upload_not_usable"), ("used", 409, "upload_not_usable"), (None, 404, "not_found")],
)
def test_an_upload_that_cannot_be_used_makes_nothing(
    api: APIClient, workspace: Workspace, make_upload: MakeUpload, state: str | None, status: int, code: str
) -> None:
    upload_id = make_upload(workspace, state=state).pk if state else uuid4()
    before = everything()
    answer = api.post(WORKS, {"title": "x", "upload_ids": [str(upload_id)]}, format="json")
    assert (answer.status_code, answer.json()["code"], set(answer.json()["details"])) == (status, code, {"upload_ids"})
    assert everything() == before


# --- lists -----------------------------------------------------------------------------------------------------------
def test_a_list_is_in_pages_and_the_last_change_comes_first(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    works = [make_work(account, updated_at=clock.now() + timedelta(seconds=number)) for number in range(5)]
    expected = [str(work.pk) for work in reversed(works)]
    first = api.get(WORKS, {"page_size": 2}).json()
    assert first["count"] == 5
    assert [work["id"] for work in first["results"]] == expected[:2]
    second = api.get(first["next"]).json()
    assert [work["id"] for work in second["results"]] == expected[2:4]


def test_a_list_is_narrowed_by_state_account_title_and_trash(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    other = DeviantArtAccountFactory(workspace=account.workspace)
    make_work(account, title="Dunes")
    make_work(other, title="Harbour", status="failed", reason_code="refused")
    make_work(account, title="Dunes at noon", status="review")
    make_work(account, title="Thrown away", trashed_at=clock.now())
    make_work(account, title="Tide", ready_at=clock.now())

    def titles(**query: Any) -> set[str]:
        answer = api.get(WORKS, query)
        assert answer.status_code == 200, answer.data
        return {work["title"] for work in answer.json()["results"]}

    assert titles() == {"Dunes", "Harbour", "Dunes at noon", "Tide"}
    assert titles(status="draft") == {"Dunes", "Tide"}
    assert titles(status=["draft", "failed"]) == {"Dunes", "Harbour", "Tide"}
    assert titles(ready="true") == {"Tide"}
    assert titles(ready="false", status="draft") == {"Dunes"}
    assert titles(account=str(other.pk)) == {"Harbour"}
    assert titles(q="DUNES") == {"Dunes", "Dunes at noon"}
    assert titles(q="dunes", status="review") == {"Dunes at noon"}
    assert titles(trashed="true") == {"Thrown away"}


@pytest.mark.parametrize(
    "query",
    [
        {"page_size": "-1"},
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "1e9"},
        {"page_size": "²"},
        {"page": "0"},
        {"page": "9" * 40},
        {"page": "NaN"},
        {"status": "sold"},
        {"account": "mine"},
        {"q": "x" * 101},
        {"q": "\x00"},
    ],
)
def test_a_list_cannot_be_asked_for_nonsense(api: APIClient, query: dict[str, str]) -> None:
    answer = api.get(WORKS, query)
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"code", "message", "details", "request_id"}


def test_a_page_takes_as_many_queries_for_fifty_works_as_for_one(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    def make_full_work() -> None:
        work = make_work(account, files=0)
        for _number in range(2):
            file = PublishVariantFactory(file=DeviationFileFactory(deviation=work)).file
            Publication.objects.create(deviation=work, file=file, account=account)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert api.get(WORKS).status_code == 200
        return len(captured)

    make_full_work()
    api.get(WORKS)  # notes when the key was used, which is not done again for some minutes
    for_one = queries()
    for _number in range(49):
        make_full_work()
    assert len(api.get(WORKS).json()["results"]) == 50
    assert queries() == for_one
    assert for_one < 12


# --- editing ---------------------------------------------------------------------------------------------------------
def test_a_patch_changes_what_it_names(api: APIClient, account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = make_work(account, title="Before", description="Stays")
    answer = api.patch(url_of(work), {"title": "After", "is_mature": None}, format="json", headers={"If-Match": '"1"'})
    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["description"]) == ("After", "Stays")
    assert (answer["ETag"], answer.json()["etag"]) == ('"2"', '"2"')


@pytest.mark.parametrize("header", ['"7"', 'W/"1"', '"1", "2"', "1", "nonsense", '""', '"²"'])
def test_what_does_not_name_the_version_of_now_changes_nothing(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, header: str
) -> None:
    work, match = make_work(account), {"If-Match": header}
    before = everything()
    answers = [
        api.patch(url_of(work), {"title": "After"}, format="json", headers=match),
        api.delete(url_of(work), headers=match),
        api.put(url_of(work, "schedule/"), {"scheduled_at": in_an_hour()}, format="json", headers=match),
        api.delete(url_of(work, "schedule/"), headers=match),
        api.post(url_of(work, "publish-now/"), headers=match),
        api.post(url_of(work, "ready/"), headers=match),
        api.post(url_of(work, "not-ready/"), headers=match),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(412, "version_conflict")] * 7
    assert everything() == before


def test_any_version_is_matched_by_a_star_or_by_saying_nothing(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account)
    for number, headers in enumerate([{"If-Match": "*"}, {}]):
        answer = api.patch(url_of(work), {"title": f"Title {number}"}, format="json", headers=headers)
        assert answer.status_code == 200


def test_no_field_of_the_model_can_be_written_that_is_not_said_of_a_work(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, stranger: User, make_upload: MakeUpload
) -> None:
    work = make_work(account)
    said = set(
        api.get("/api/schema/", {"format": "json"}).json()["components"]["schemas"]["PatchedWordsRequest"]["properties"]
    )
    inner = {name for field in Deviation._meta.fields for name in (field.name, field.attname)} - said
    inner |= {"files", "publications", "etag", "tags_as_shown", "is_staff", "role", "pk", "__proto__"}
    upload = make_upload(account.workspace)
    before = everything()
    for name in sorted(inner):
        for answer in (
            api.patch(url_of(work), {"title": "Changed", name: str(new_id())}, format="json"),
            api.post(WORKS, {"title": "Made", "upload_ids": [str(upload.pk)], name: str(new_id())}, format="json"),
            api.put(url_of(work, "schedule/"), {"scheduled_at": in_an_hour(), f"{name}!": 1}, format="json"),
        ):
            assert answer.status_code == 400, name
            assert {key.rstrip("!") for key in answer.json()["details"]} == {name}
    assert everything() == before
    assert len(inner) > 25


# --- time ------------------------------------------------------------------------------------------------------------
def test_a_work_is_scheduled_moved_and_taken_off(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work, moment = make_work(account), clock.now() + timedelta(hours=1)
    answer = api.put(
        url_of(work, "schedule/"), {"scheduled_at": moment.isoformat(), "jitter_seconds": 600}, format="json"
    )
    assert answer.status_code == 200, answer.data
    body = answer.json()
    assert body["status"] == "scheduled"
    assert 0 <= body["jitter_seconds"] <= 600
    assert datetime.fromisoformat(body["scheduled_at"]) == moment
    assert datetime.fromisoformat(body["publish_at"]) == moment + timedelta(seconds=body["jitter_seconds"])
    assert body["scheduled_zone"] == "Europe/Berlin"
    local = (clock.now() + timedelta(days=2)).replace(microsecond=0, second=0, tzinfo=None)
    answer = api.put(url_of(work, "schedule/"), {"local": local.isoformat(), "zone": "Asia/Tokyo"}, format="json")
    body = answer.json()
    assert (body["scheduled_local"], body["scheduled_zone"]) == (local.isoformat(), "Asia/Tokyo")
    assert datetime.fromisoformat(body["scheduled_at"]) == (local - timedelta(hours=9)).replace(tzinfo=UTC)
    answer = api.delete(url_of(work, "schedule/"))
    assert (answer.status_code, answer.json()["status"], answer.json()["publish_at"]) == (200, "draft", None)


def test_a_time_that_comes_twice_brings_the_choice(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work, year = make_work(account), clock.now().year
    # The last Sunday of October, whichever of the two years is within the coming one.
    nights = [datetime(each, 10, 31, 2, 30) for each in (year, year + 1)]  # noqa: DTZ001 - a time on a wall
    nights = [night - timedelta(days=(night.weekday() + 1) % 7) for night in nights]
    local = next(night for night in nights if night.replace(tzinfo=UTC) > clock.now() + timedelta(days=1))
    body = {"local": local.isoformat(), "zone": "Europe/Berlin"}
    answer = api.put(url_of(work, "schedule/"), body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (422, "time_comes_twice")
    choices = answer.json()["details"]["choices"]
    assert [choice["name"] for choice in choices] == ["CEST", "CET"]
    for choice in choices:
        answer = api.put(url_of(work, "schedule/"), {**body, "fold": choice["fold"]}, format="json")
        assert answer.status_code == 200
        assert datetime.fromisoformat(answer.json()["scheduled_at"]) == datetime.fromisoformat(choice["at"])


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "scheduled_at"),
        ({"scheduled_at": "2030-01-01T12:00:00"}, 400, "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, 400, "scheduled_at"),
        ({"scheduled_at": None}, 400, "scheduled_at"),
        ({"scheduled_at": "2020-01-01T12:00:00Z"}, 422, "scheduled_at"),
        ({"scheduled_at": "9999-12-31T23:59:59-12:00"}, 400, "scheduled_at"),
        ({"scheduled_at": "9999-12-31T12:00:00Z"}, 422, "scheduled_at"),
        ({"local": "2020-01-01T12:00:00Z", "zone": "UTC"}, 400, "local"),
        ({"local": "9999-12-31T23:59:59", "zone": "Pacific/Pago_Pago"}, 422, "local"),
        ({"local": "0001-01-01T00:00:00", "zone": "Asia/Tokyo"}, 422, "local"),
        ({"local": "2030-01-01T12:00:00", "zone": "Middle/Earth"}, 422, "zone"),
        ({"scheduled_at": "2020-01-01T12:00:00Z", "jitter_seconds": 3601}, 400, "jitter_seconds"),
        ({"scheduled_at": "2020-01-01T12:00:00Z", "jitter_seconds": -1}, 400, "jitter_seconds"),
        ({"scheduled_at": "2020-01-01T12:00:00Z", "jitter_seconds": 1.5}, 400, "jitter_seconds"),
        ({"scheduled_at": "2020-01-01T12:00:00Z", "fold": 2}, 400, "fold"),
        ({"scheduled_at": "2020-01-01T12:00:00Z", "publish_at": "2020-01-01T12:00:00Z"}, 400, "publish_at"),
    ],
)
def test_a_wrong_time_is_refused_by_its_field(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, body: dict[str, Any], status: int, field: str
) -> None:
    work = make_work(account)
    before = everything()
    answer = api.put(url_of(work, "schedule/"), body, format="json")
    assert (answer.status_code, set(answer.json()["details"])) == (status, {field}), answer.json()
    assert everything() == before


def test_what_deviantart_would_refuse_comes_back_whole(api: APIClient, workspace: Workspace) -> None:
    title, tags = "x" * 200, [f"tag{number}" for number in range(31)]
    work = api.post(WORKS, {"title": title, "tags": tags}, format="json").json()
    answer = api.put(url_of(work["id"], "schedule/"), {"scheduled_at": in_an_hour()}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (422, "not_publishable")
    assert set(answer.json()["details"]) == {"title", "tags", "files", "account_id"}
    assert api.get(url_of(work["id"])).json()["status"] == "draft"


def test_publish_now_and_retry_are_accepted(api: APIClient, account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = make_work(account)
    answer = api.post(url_of(work, "publish-now/"))
    assert (answer.status_code, answer.json()["status"]) == (202, "scheduled")
    assert Deviation.objects.due(clock.DatabaseNow()).get() == work
    assert api.post(url_of(work, "retry/")).status_code == 409
    Deviation.objects.update(status="failed", reason_code="refused")
    answer = api.post(url_of(work, "retry/"))
    assert (answer.status_code, answer.json()["status"]) == (202, "scheduled")


def test_what_is_on_its_way_answers_too_late(api: APIClient, account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = make_work(account)
    api.post(url_of(work, "publish-now/"))
    for state, code in (
        ({"status": "uploading", "worker_id": new_id(), "lease_id": new_id()}, "already_on_its_way"),
        (
            {
                "status": "publishing",
                "worker_id": None,
                "lease_id": None,
                "unconfirmed_since": clock.now(),
                "next_attempt_at": clock.now(),
            },
            "being_confirmed",
        ),
    ):
        Deviation.objects.update(**state)
        before = everything()
        answers = [
            api.put(url_of(work, "schedule/"), {"scheduled_at": in_an_hour()}, format="json"),
            api.delete(url_of(work, "schedule/")),
            api.patch(url_of(work), {"title": "Too late"}, format="json"),
            api.patch(url_of(work), {"account_id": None}, format="json"),
            api.delete(url_of(work)),
            api.post(url_of(work, "publish-now/")),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, code)] * 6
        assert everything() == before


# --- ready for automations -------------------------------------------------------------------------------------------
def test_a_draft_is_made_ready_for_automations_and_kept_from_them_again(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account)
    assert api.get(url_of(work)).json()["ready_at"] is None
    answer = api.post(url_of(work, "ready/"), headers={"If-Match": '"1"'})
    since = Deviation.objects.get(pk=work.pk).ready_at
    assert since is not None
    assert datetime.fromisoformat(answer.json()["ready_at"]) == since
    assert (answer.status_code, answer["ETag"]) == (200, '"2"')
    answer = api.post(url_of(work, "not-ready/"), headers={"If-Match": '"2"'})
    assert (answer.status_code, answer["ETag"], answer.json()["ready_at"]) == (200, '"3"', None)


@pytest.mark.parametrize("action", ["ready", "not-ready"])
def test_saying_it_twice_changes_nothing(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, action: str
) -> None:
    work = make_work(account, ready_at=clock.now() if action == "not-ready" else None)
    first = api.post(url_of(work, f"{action}/"))
    before = everything()
    second = api.post(url_of(work, f"{action}/"))
    assert (second.status_code, second.json()) == (200, first.json())
    assert everything() == before


def test_what_lies_in_the_trash_is_not_made_ready(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account, trashed_at=clock.now())
    before = everything()
    answer = api.post(url_of(work, "ready/"))
    assert (answer.status_code, answer.json()["code"]) == (409, "in_the_trash")
    assert everything() == before


def test_a_work_in_review_is_approved_and_any_other_is_not(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    answer = api.post(url_of(make_work(account, status="review"), "approve/"), headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["status"], answer["ETag"]) == (200, "draft", '"2"')
    assert answer.json()["ready_at"] is not None
    answer = api.post(url_of(make_work(account), "approve/"))
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


def test_many_are_made_ready_or_kept_from_automations_by_one_call(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    works, foreign = [make_work(account) for _number in range(2)], make_work(DeviantArtAccountFactory())
    ids = [str(work.pk) for work in (*works, foreign)]
    for action, ready in (("ready", 2), ("ready", 2), ("not_ready", 0)):
        answer = api.post(f"{WORKS}bulk/", {"action": action, "ids": ids}, format="json")
        assert [result["ok"] for result in answer.json()["results"]] == [True, True, False]
        assert Deviation.objects.filter(ready_at__isnull=False).count() == ready
    foreign.refresh_from_db()
    assert (foreign.ready_at, foreign.version) == (None, 1)


# --- trash -----------------------------------------------------------------------------------------------------------
def test_a_deleted_work_lies_in_the_trash_and_can_be_restored(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account)
    assert api.delete(url_of(work)).status_code == 204
    assert api.get(WORKS).json()["count"] == 0
    assert api.get(url_of(work)).json()["trashed_at"] is not None
    assert api.post(url_of(work, "publish-now/")).json()["code"] == "in_the_trash"
    answer = api.post(url_of(work, "restore/"))
    assert (answer.status_code, answer.json()["trashed_at"]) == (200, None)
    assert api.get(WORKS).json()["count"] == 1


# --- many ------------------------------------------------------------------------------------------------------------
def test_many_works_are_changed_by_one_call_with_a_result_for_each(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    good, bad = make_work(account), make_work(account, title="x" * 51)
    missing = uuid4()
    ids = [str(good.pk), str(bad.pk), str(missing), str(good.pk)]
    answer = api.post(f"{WORKS}bulk/", {"action": "schedule", "ids": ids, "scheduled_at": in_an_hour()}, format="json")
    assert answer.status_code == 200, answer.data
    results = answer.json()["results"]
    assert [result["id"] for result in results] == ids[:3]
    assert [result["ok"] for result in results] == [True, False, False]
    assert (results[0]["status"], results[0]["etag"], results[0]["error"]) == ("scheduled", '"2"', None)
    assert results[1]["error"]["code"] == "not_publishable"
    assert set(results[1]["error"]["details"]) == {"title"}
    assert results[2]["error"]["code"] == "not_found"
    UUID(answer.json()["bulk_id"])


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ({"status": "draft"}, "publish_now", "scheduled"),
        ({"status": "failed", "reason_code": "refused"}, "retry", "scheduled"),
        ({"status": "failed", "reason_code": "refused"}, "cancel", "draft"),
        ({"status": "failed", "reason_code": "refused"}, "trash", "failed"),
        ({"status": "draft", "trashed_at": clock.now()}, "restore", "draft"),
        ({"status": "draft"}, "ready", "draft"),
        ({"status": "review"}, "approve", "draft"),
        ({"status": "draft", "ready_at": clock.now()}, "not_ready", "draft"),
        (
            {"status": "draft", "previous_publish_at": clock.now() + timedelta(days=1)},
            "schedule_as_before",
            "scheduled",
        ),
    ],
)
def test_each_action_can_be_done_to_many(
    api: APIClient,
    account: DeviantArtAccount,
    make_work: MakeWork,
    before: dict[str, Any],
    action: str,
    after: str,
) -> None:
    ids = [str(make_work(account, **before).pk) for _number in range(2)]
    answer = api.post(f"{WORKS}bulk/", {"action": action, "ids": ids}, format="json")
    assert [result["status"] for result in answer.json()["results"]] == [after, after]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "schedule"}, "ids"),
        ({"action": "schedule", "ids": []}, "ids"),
        ({"action": "publish", "ids": [str(uuid4())]}, "action"),
        ({"action": "cancel", "ids": ["mine"]}, "ids"),
        ({"action": "cancel", "ids": "all"}, "ids"),
        ({"action": "cancel", "ids": [str(uuid4()) for _number in range(501)]}, "ids"),
        ({"action": "cancel", "ids": [str(uuid4())], "jitter_seconds": 5}, "jitter_seconds"),
        ({"action": "cancel", "ids": [str(uuid4())], "status": "published"}, "status"),
    ],
)
def test_a_wrong_call_for_many_is_refused_by_its_field(
    api: APIClient, workspace: Workspace, body: dict[str, Any], field: str
) -> None:
    answer = api.post(f"{WORKS}bulk/", body, format="json")
    assert (answer.status_code, set(answer.json()["details"])) == (400, {field})


def test_works_of_others_alone_are_not_found(api: APIClient, make_work: MakeWork) -> None:
    foreign = make_work(DeviantArtAccountFactory())
    before = everything()
    answer = api.post(f"{WORKS}bulk/", {"action": "trash", "ids": [str(foreign.pk)]}, format="json")
    assert answer.status_code == 404
    assert everything() == before
