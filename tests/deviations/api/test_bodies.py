"""What every endpoint refuses alike, and the one shape in which it does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import DeviantArtAccount, User
from deviations.api import views
from deviations.models import Deviation
from deviations.services.drafting import EDITABLE
from tests.unchanged import everything

MakeWork = Callable[..., Deviation]
WORKS = "/api/deviations/"
SHAPE = {"code", "message", "details", "request_id"}


def raw(api: APIClient, body: bytes | str, **options: Any) -> Any:
    return api.post(WORKS, body, content_type="application/json", **options)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ('"title"', 400),
        ('{"title": NaN}', 400),
        ('{"display_resolution": 1e400}', 400),
        ('{"display_resolution": ' + "9" * 5000 + "}", 400),
        ('{"title": "\\u0000"}', 400),
        ('{"title": "\\ud800"}', 400),
        (b'{"title": "\xff"}', 400),
        ('{"tags": ' + "[" * 100_000 + "]" * 100_000 + "}", 400),
        ('{"title": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}", 400),
        ('{"description": "' + "x" * 1024 * 1024 + '"}', 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_the_one_shape(api: APIClient, body: bytes | str, status: int) -> None:
    answer = raw(api, body)
    assert (answer.status_code, set(answer.json())) == (status, SHAPE)
    assert not Deviation.objects.exists()


def test_only_json_is_read(api: APIClient) -> None:
    assert api.post(WORKS, {"title": "Dunes"}, format="multipart").status_code == 415
    assert api.post(WORKS, "<title>Dunes</title>", content_type="application/xml").status_code == 415


def test_an_id_that_is_none_is_not_found_in_the_one_shape(api: APIClient) -> None:
    for pk in ("nonsense", "0", "%00", "9" * 400):
        answer = api.get(f"{WORKS}{pk}/")
        assert (answer.status_code, set(answer.json())) == (404, SHAPE)


def test_a_method_that_is_not_there_is_refused_in_the_one_shape(artist: User) -> None:
    browser = APIClient()
    browser.force_login(artist)
    answer = browser.put(WORKS, {}, format="json")
    assert (answer.status_code, set(answer.json())) == (405, SHAPE)


def test_a_hundred_unknown_fields_are_not_all_said_back(api: APIClient) -> None:
    answer = raw(api, json.dumps({f"{number}{'x' * 1000}": 1 for number in range(100)}))
    assert answer.status_code == 400
    assert len(answer.content) < 10_000


def test_what_nobody_foresaw_is_answered_in_the_one_shape_and_tells_nothing(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("secret inner state")

    monkeypatch.setattr(views, "create_draft", break_down)
    api.raise_request_exception = False
    answer = raw(api, "{}")
    assert (answer.status_code, set(answer.json())) == (500, SHAPE)
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.content.decode()
    assert any("api_call_failed" in str(record.msg) for record in caplog.records)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=60)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(sorted(EDITABLE)), values, max_size=4))
def test_no_value_of_a_field_breaks_an_edit(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, body: dict[str, Any]
) -> None:
    work = Deviation.objects.first() or make_work(account)
    before = everything()
    answer = api.patch(f"{WORKS}{work.pk}/", json.dumps(body), content_type="application/json")
    assert answer.status_code in {200, 400, 404}, (body, answer.content)
    if answer.status_code != 200:
        assert set(answer.json()) == SHAPE
        assert everything() == before


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(
        st.sampled_from(["scheduled_at", "local", "zone", "fold", "jitter_seconds"]),
        values | st.datetimes().map(str) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        max_size=4,
    )
)
def test_no_value_of_a_time_breaks_a_schedule(
    api: APIClient, account: DeviantArtAccount, make_work: MakeWork, body: dict[str, Any]
) -> None:
    work = Deviation.objects.first() or make_work(account)
    answer = api.put(f"{WORKS}{work.pk}/schedule/", json.dumps(body), content_type="application/json")
    assert answer.status_code in {200, 400, 422}, (body, answer.content)
