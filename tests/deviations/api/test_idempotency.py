from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import DeviantArtAccount, IdempotencyKey, User, Workspace
from deviations.api import views
from deviations.models import Deviation, Upload
from deviations.services.drafting import create_draft
from isekai import clock
from tests.deviations.races import at_once
from tests.unchanged import everything

MakeUpload = Callable[..., Upload]
WORKS = "/api/deviations/"


def post(api: APIClient, body: dict[str, Any], key: str) -> Any:
    return api.post(WORKS, body, format="json", headers={"Idempotency-Key": key})


def test_a_call_that_is_sent_again_makes_nothing_twice_and_is_answered_alike(
    api: APIClient, workspace: Workspace, make_upload: MakeUpload
) -> None:
    body = {"title": "Dunes", "upload_ids": [str(make_upload(workspace).pk)]}
    first, again = post(api, body, "one"), post(api, dict(reversed(body.items())), "one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
    assert Deviation.objects.count() == 1


def test_without_a_key_or_with_another_one_it_is_another_call(api: APIClient) -> None:
    for headers in ({}, {}, {"Idempotency-Key": "one"}, {"Idempotency-Key": "two"}):
        assert api.post(WORKS, {"title": "Dunes"}, format="json", headers=headers).status_code == 201
    assert Deviation.objects.count() == 4


def test_a_key_with_another_body_is_refused(api: APIClient) -> None:
    post(api, {"title": "Dunes"}, "one")
    before = everything()
    answer = post(api, {"title": "Dunes at noon"}, "one")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert everything() == before


def test_a_key_with_another_path_is_refused(api: APIClient) -> None:
    post(api, {}, "one")
    answer = api.post("/api/uploads/", {}, format="json", headers={"Idempotency-Key": "one"})
    assert answer.status_code == 422


def test_a_call_that_failed_can_be_mended_under_its_key(
    api: APIClient, workspace: Workspace, make_upload: MakeUpload
) -> None:
    upload = make_upload(workspace, state="reading")
    body = {"title": "Dunes", "upload_ids": [str(upload.pk)]}
    assert post(api, body, "one").status_code == 409
    Upload.objects.update(state="verified")
    assert post(api, body, "one").status_code == 201


def test_what_broke_in_the_middle_has_made_nothing_and_keeps_no_key(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything()

    def break_down(**_fields: Any) -> None:
        raise RuntimeError("the process died here")

    with monkeypatch.context() as broken:
        broken.setattr(IdempotencyKey.objects, "create", break_down)
        with pytest.raises(RuntimeError):
            post(api, {"title": "Dunes"}, "one")
    assert everything() == before
    assert post(api, {"title": "Dunes"}, "one").status_code == 201


def test_keys_of_two_workspaces_never_meet(api: APIClient, api_of: Callable[..., APIClient], stranger: User) -> None:
    mine, theirs = post(api, {"title": "Dunes"}, "one"), post(api_of(stranger), {"title": "Harbour"}, "one")
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert theirs.json()["title"] == "Harbour"


def test_a_key_is_forgotten_after_a_day(api: APIClient) -> None:
    post(api, {"title": "Dunes"}, "one")
    IdempotencyKey.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert "Idempotency-Replayed" not in post(api, {"title": "Dunes"}, "one")
    assert Deviation.objects.count() == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(api: APIClient, key: str) -> None:
    answer = post(api, {"title": "Dunes"}, key)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_unusable")
    assert not Deviation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_the_same_call_many_times_at_once_one_makes_it(
    api_of: Callable[..., APIClient], artist: User, account: DeviantArtAccount
) -> None:
    clients = [api_of(artist) for _number in range(6)]
    answers = at_once(*(partial(post, client, {"title": "Dunes"}, "one") for client in clients))
    assert Deviation.objects.count() == 1
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert made == [made[0]] * len(made)
    others = {(answer.status_code, answer.json()["code"]) for answer in answers if answer.status_code != 201}
    assert others <= {(409, "idempotency_key_in_use")}


@pytest.mark.django_db(transaction=True)
def test_while_the_first_call_is_answered_the_second_is_told_to_wait(
    api: APIClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []

    def meanwhile(*args: Any, **options: Any) -> Deviation:
        # In the middle of the first call: the same one comes in on another connection.
        if not answers:
            answers.append(None)
            (answers[0],) = at_once(partial(post, api, {"title": "Dunes"}, "one"))
        return create_draft(*args, **options)

    monkeypatch.setattr(views, "create_draft", meanwhile)
    assert post(api, {"title": "Dunes"}, "one").status_code == 201
    assert (answers[0].status_code, answers[0].json()["code"]) == (409, "idempotency_key_in_use")
    assert Deviation.objects.count() == 1
