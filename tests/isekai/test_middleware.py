"""The one id of a request, what of it is logged, and the headers that every answer has."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client, RequestFactory, override_settings

from isekai import outage, queue
from isekai.devstack import processes
from isekai.logging import correlation_id
from isekai.middleware import client_address
from tests.factories import UserFactory
from tests.isekai.conftest import OwnRedis, StartWorker
from tests.isekai.logs import logging_to
from tests.isekai.urls import SECRET
from tests.processes import wait_until

Ask = Callable[..., tuple[Any, list[dict[str, Any]]]]


@pytest.fixture
def ask(db: None) -> Ask:
    """Makes a request; gives the answer, and the lines that it left in the log."""

    def ask(path: str, client: Client | None = None, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
        client = client or Client(raise_request_exception=False)
        with override_settings(ROOT_URLCONF="tests.isekai.urls"), logging_to(as_json=True) as written:
            response = client.get(path, **options)
        lines = [json.loads(line) for line in written.getvalue().splitlines()]
        return response, [line for line in lines if line["logger"].startswith(("django_structlog", "isekai"))]

    return ask


# --- the id ----------------------------------------------------------------------------------------------------------
def test_a_request_has_one_id_in_its_answer_its_log_and_its_code(ask: Ask) -> None:
    response, lines = ask("/tests/whoami/")
    assert UUID(response["X-Request-ID"])
    assert response.json()["correlation"] == response["X-Request-ID"]
    assert {line["correlationId"] for line in lines} == {response["X-Request-ID"]}
    assert correlation_id() == "", "nothing is left of it for the next"


def test_an_id_from_outside_is_not_taken(ask: Ask) -> None:
    response, lines = ask("/tests/whoami/", headers={"X-Request-ID": "chosen-by-a-stranger"})
    assert response["X-Request-ID"] != "chosen-by-a-stranger"
    assert "chosen-by-a-stranger" not in json.dumps(lines)


def test_an_id_from_our_own_proxy_is_taken_where_it_can_be_one(ask: Ask) -> None:
    with override_settings(DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID=True):
        response, lines = ask("/tests/whoami/", headers={"X-Request-ID": "4d2f0c9e-from.proxy"})
        assert response["X-Request-ID"] == "4d2f0c9e-from.proxy"
        assert lines[-1]["correlationId"] == "4d2f0c9e-from.proxy"
        for odd in ("a" * 65, "short", "with space in it", "quote\"'in-it", "new\nline-in-it", "ünïcödé-id"):
            response, _lines = ask("/tests/whoami/", HTTP_X_REQUEST_ID=odd)
            assert UUID(response["X-Request-ID"])


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_the_id_of_a_request_is_that_of_the_tasks_that_it_sent(
    ask: Ask, own_redis: OwnRedis, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", own_redis.url)
    monkeypatch.setattr(queue, "BROKER", outage.Outage("broker"))
    key = uuid4().hex

    monkeypatch.setattr("tests.isekai.urls.on_whoami", lambda _request: queue.send("tests.wait", key))
    user = UserFactory()
    client = Client()
    client.force_login(user)
    response, _lines = ask("/tests/whoami/", client)
    (message,) = own_redis.client().lrange("maintenance", 0, -1)
    assert str(user.pk) not in json.dumps(json.loads(message)["headers"]["__django_structlog__"])

    worker = start_worker(processes.notifier(), own_redis.url)
    own_redis.client().rpush(f"{key}:go", "go")
    wait_until(lambda: "task_succeeded" in worker.log(), seconds=60, what=worker.log)
    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    of_the_task = {line["message"]: line for line in lines if "task_id" in line}
    assert of_the_task.keys() >= {"task_started", "task_succeeded", "waited", "task_enqueued"}
    assert [line["message"] for line in lines].count("task_enqueued") == 1
    (sent_on,) = own_redis.client().lrange("nobody", 0, -1)
    assert json.loads(sent_on)["headers"]["__django_structlog__"]["request_id"] == response["X-Request-ID"]
    assert {line["correlationId"] for line in of_the_task.values()} == {response["X-Request-ID"]}
    assert "user_id" not in of_the_task["task_started"]


# --- the line --------------------------------------------------------------------------------------------------------
def test_how_a_request_ended_is_one_line(ask: Ask) -> None:
    user = UserFactory()
    client = Client()
    client.force_login(user)
    _response, lines = ask("/tests/whoami/?code=abcdefghijk&q=a+private+search", client)
    ended = [line for line in lines if line["message"] == "request_finished"]
    assert len(ended) == 1
    assert (ended[0]["request"], ended[0]["code"]) == ("GET /tests/whoami/", 200)
    assert (ended[0]["user_id"], ended[0]["ip"]) == (str(user.pk), "127.0.0.1")
    assert "abcdefghijk" not in json.dumps(lines)
    assert "private" not in json.dumps(lines)


def test_the_log_asks_for_no_user_whom_nobody_else_asked_for(
    ask: Ask, django_assert_num_queries: Any, client: Client
) -> None:
    client.force_login(UserFactory())
    with django_assert_num_queries(0):
        ask("/tests/nonce/", client)


def test_a_failure_is_logged_once_without_its_secrets_and_told_without_details(ask: Ask) -> None:
    response, lines = ask("/tests/broken/")
    assert response.status_code == 500
    (failed,) = [line for line in lines if line["level"] == "error"]
    assert failed["correlationId"] == response["X-Request-ID"]
    assert "ValueError" in failed["exception"]
    assert SECRET not in json.dumps(lines)
    for detail in ("ValueError", "broke", SECRET, "urls.py"):
        assert detail not in response.content.decode()


# --- who it came from ------------------------------------------------------------------------------------------------
def test_the_address_is_the_connections_own_unless_our_proxy_tells_it(settings: Any) -> None:
    def address(**headers: str) -> str:
        return client_address(RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers=headers))

    spoofed = {"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}
    assert address(**spoofed) == "10.0.0.1"
    settings.ISEKAI_BEHIND_PROXY = True
    assert address(**spoofed) == "192.0.2.7", "the last is our proxy's, those before it are anybody's"
    assert address() == "10.0.0.1"


# --- headers ---------------------------------------------------------------------------------------------------------
PRODUCTION_HEADERS = {
    "ALLOWED_HOSTS": ["testserver"],
    "SECURE_HSTS_SECONDS": 31_536_000,
    "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
    "SECURE_HSTS_PRELOAD": True,
}
ANSWERS = {
    "200": ("get", "/tests/whoami/", {}, 200),
    "302": ("get", "/admin/", {}, 302),
    "400": ("get", "/tests/whoami/", {"HTTP_HOST": "evil.test"}, 400),
    "403": ("post", "/tests/whoami/", {}, 403),
    "404": ("get", "/nowhere/", {}, 404),
    "404 of the API": ("get", "/api/nowhere/", {}, 404),
    "401": ("get", "/api/deviations/", {}, 401),
    "405": ("post", "/health", {}, 405),
    "500": ("get", "/tests/broken/", {}, 500),
    "static": ("get", "/static/admin/css/base.css", {}, 200),
    "static, missing": ("get", "/static/nowhere.css", {}, 404),
    "liveness": ("get", "/health", {}, 200),
    "metrics": ("get", "/metrics", {}, 200),
    "schema": ("get", "/api/schema/", {}, None),
}


@pytest.mark.django_db
@pytest.mark.urls("tests.isekai.urls")
@pytest.mark.parametrize(("method", "path", "options", "status"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_tells_browsers_to_be_careful(
    method: str, path: str, options: dict[str, Any], status: int | None
) -> None:
    with override_settings(**PRODUCTION_HEADERS):
        client = Client(raise_request_exception=False, enforce_csrf_checks=True)
        response = getattr(client, method)(path, secure=True, **options)
    assert status is None or response.status_code == status
    assert response["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["X-Frame-Options"] == "DENY"
    policy = directives(response["Content-Security-Policy"])
    for directive in ("default-src", "object-src", "base-uri", "frame-ancestors"):
        assert policy[directive] == ["'none'"]
    for sources in policy.values():
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "http:", "https:"} & set(sources)
    assert "Server" not in response
    assert "X-Powered-By" not in response


@pytest.mark.urls("tests.isekai.urls")
def test_the_nonce_of_each_answer_is_its_own(client: Client) -> None:
    seen = set()
    for _ in range(5):
        response = client.get("/tests/nonce/")
        nonce = response.content.decode()
        assert directives(response["Content-Security-Policy"])["script-src"] == ["'self'", f"'nonce-{nonce}'"]
        assert re.fullmatch(r"[\w+/=-]{16,}", nonce)
        seen.add(nonce)
    assert len(seen) == 5


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split(";") if part.strip())}
