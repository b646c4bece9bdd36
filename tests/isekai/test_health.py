import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from isekai import clock, health, readiness
from isekai.devstack import processes
from tests.factories import DueDeviationFactory
from tests.isekai.conftest import OwnRedis
from tests.processes import BIN, ROOT, free_port, wait_until

TOKEN = "q8Zt4vB1nX7cW2mK9pR5sD3f"


def beat_ticked(seconds_ago: float) -> None:
    PeriodicTask.objects.create(
        name="dispatch",
        task="tests.nothing",
        interval=IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS),
        last_run_at=clock.now() - timedelta(seconds=seconds_ago),
    )


@pytest.fixture
def redis(own_redis: OwnRedis, settings: Any) -> OwnRedis:
    settings.CELERY_BROKER_URL = own_redis.url
    return own_redis


def ready(client: Client) -> tuple[int, Any]:
    response = client.get("/ready")
    return response.status_code, response.json()


# --- /health ---------------------------------------------------------------------------------------------------------
def test_liveness_needs_nothing_and_says_nothing(client: Client, settings: Any) -> None:
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"
    response = client.get("/health")  # pytest-django lets no test without its mark reach the database
    assert response.status_code == 200
    assert response.json() == {"status": "healthy"}
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_probes_may_only_read(client: Client, path: str) -> None:
    for method in (client.post, client.put, client.delete, client.options, client.patch):
        response = method(path)
        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"


def test_probes_come_by_any_address_and_without_tls(client: Client) -> None:
    with override_settings(ALLOWED_HOSTS=["isekai.test"], SECURE_SSL_REDIRECT=True):
        assert Client().get("/health", HTTP_HOST="10.1.2.3:4000").status_code == 200
        assert Client().get("/metrics", HTTP_HOST="10.1.2.3:4000").status_code == 200
        assert Client().get("/sign-in/", HTTP_HOST="isekai.test").status_code == 301
        assert Client().get("/sign-in/", HTTP_HOST="10.1.2.3:4000").status_code == 400


def test_probes_leave_no_line_in_the_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/health")
    client.get("/metrics")
    assert caplog.records == []


# --- /ready ----------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_ready_when_everything_works(client: Client, redis: OwnRedis) -> None:
    beat_ticked(seconds_ago=3)
    status, body = ready(client)
    assert status == 200
    timestamp = datetime.fromisoformat(body.pop("timestamp"))
    assert abs((timestamp - clock.now()).total_seconds()) < 60
    assert 3 <= body["beat"].pop("lastTickSeconds") < 60
    assert body == {
        "status": "ready",
        "service": "isekai-web",
        "database": {"connected": True},
        "migrations": {"applied": True, "pending": 0},
        "redis": {"connected": True},
        "beat": {"ticking": True},
        "works": {"oldestDueSeconds": None},
    }


@pytest.mark.django_db(transaction=True)
def test_not_ready_while_beat_is_silent(client: Client, redis: OwnRedis) -> None:
    status, body = ready(client)
    assert (status, body["beat"]) == (503, {"ticking": False, "lastTickSeconds": None})
    beat_ticked(seconds_ago=3600)
    status, body = ready(client)
    assert (status, body["status"], body["beat"]["ticking"]) == (503, "not_ready", False)
    assert 3600 <= body["beat"]["lastTickSeconds"] < 3660


@pytest.mark.django_db(transaction=True)
def test_emptying_redis_says_nothing_about_beat(client: Client, redis: OwnRedis) -> None:
    beat_ticked(seconds_ago=3)
    redis.client().flushall()
    assert ready(client)[0] == 200


@pytest.mark.django_db(transaction=True)
def test_the_age_of_the_oldest_due_work_is_shown_and_not_judged(client: Client, redis: OwnRedis) -> None:
    beat_ticked(seconds_ago=3)
    now = clock.now()
    DueDeviationFactory(scheduled_at=now - timedelta(seconds=90))
    DueDeviationFactory(scheduled_at=now - timedelta(seconds=500))
    DueDeviationFactory(scheduled_at=now + timedelta(hours=1))
    DueDeviationFactory(scheduled_at=now - timedelta(hours=1), trashed_at=now, status="draft")
    status, body = ready(client)
    assert status == 200
    assert 500 <= body["works"]["oldestDueSeconds"] < 560


@pytest.mark.django_db(transaction=True)
def test_not_ready_before_every_migration_is_applied(client: Client, redis: OwnRedis) -> None:
    beat_ticked(seconds_ago=3)
    recorder = MigrationRecorder(connection)
    applied = recorder.migration_qs.filter(app="publisher").latest("pk")
    recorder.record_unapplied(applied.app, applied.name)
    try:
        status, body = ready(client)
    finally:
        recorder.record_applied(applied.app, applied.name)
    assert (status, body["migrations"]) == (503, {"applied": False, "pending": 1})

    recorder.record_applied("publisher", "9999_of_a_newer_release")
    try:
        assert ready(client)[0] == 200, "old code runs on the new schema"
    finally:
        recorder.record_unapplied("publisher", "9999_of_a_newer_release")


@pytest.mark.django_db(transaction=True)
def test_not_ready_without_redis(client: Client, redis: OwnRedis) -> None:
    beat_ticked(seconds_ago=3)
    redis.stop()
    status, body = ready(client)
    assert (status, body["redis"]) == (503, {"connected": False})
    assert body["database"] == {"connected": True}
    redis.start()
    assert ready(client)[0] == 200


@pytest.fixture
def database_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Lets new connections, such as a probe makes, go to another port."""

    def move(port: int) -> None:
        monkeypatch.setitem(connections.settings["default"], "PORT", port)

    yield move
    monkeypatch.undo()


@pytest.mark.django_db(transaction=True)
def test_not_ready_without_the_database(client: Client, redis: OwnRedis, database_at: Any) -> None:
    database_at(free_port())
    status, body = ready(client)
    assert (status, body["database"]) == (503, {"connected": False})
    assert body["migrations"] == {"applied": False, "pending": None}
    assert body["beat"] == {"ticking": False, "lastTickSeconds": None}
    assert body["redis"] == {"connected": True}


@pytest.mark.django_db(transaction=True)
def test_servers_that_hang_are_not_waited_for(client: Client, settings: Any, database_at: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, and nothing is ever answered
        port = silent.getsockname()[1]
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{port}/0"
        database_at(port)
        started = time.monotonic()
        status, body = ready(client)
        assert time.monotonic() - started < 2 * readiness.ANSWER_SECONDS + 2
    assert status == 503
    assert body["database"] == body["redis"] == {"connected": False}


# --- /metrics --------------------------------------------------------------------------------------------------------
def test_metrics_are_for_this_machine_alone_without_a_token(client: Client) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="::1").status_code == 200
    for address in ("10.0.0.1", "192.0.2.7", "::ffff:192.0.2.7", "", "localhost"):
        assert client.get("/metrics", REMOTE_ADDR=address).status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(client: Client, header: str) -> None:
    assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 403


def test_a_configured_proxy_makes_the_token_necessary(client: Client, settings: Any) -> None:
    settings.ISEKAI_BEHIND_PROXY = True
    assert client.get("/metrics").status_code == 403


def test_the_token_opens_the_metrics_from_everywhere(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    given = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "192.0.2.7"}
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.7", headers=given).status_code == 200
    for wrong in ("", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", "Bearer ünïcode"):
        response = client.get("/metrics", headers={"Authorization": wrong})
        assert response.status_code == 403
        assert response.content == b""


@pytest.mark.django_db
def test_metrics_are_prometheus_text(client: Client) -> None:
    client.get("/nowhere/")
    response = client.get("/metrics")
    assert response["Content-Type"].startswith("text/plain; version=")
    text = response.content.decode()
    assert "# TYPE django_http_requests_before_middlewares_total counter" in text
    assert "process_resident_memory_bytes" in text
    before = not_found(text)
    client.get("/nowhere/")
    assert not_found(client.get("/metrics").content.decode()) == before + 1


def not_found(text: str) -> float:
    found = re.search(r'^django_http_responses_total_by_status_total\{status="404"\} (\S+)$', text, re.MULTILINE)
    assert found
    return float(found[1])


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_real_beat_is_seen_ticking(
    client: Client, redis: OwnRedis, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BEAT_IS_LATE_SECONDS", 3)
    assert ready(client)[1]["beat"] == {"ticking": False, "lastTickSeconds": None}
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis.url, "LOG_JSON": "1"}
    command = processes.beat().command
    log = tmp_path / "beat.log"
    with log.open("wb") as out:
        beat = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: ready(client)[0] == 200, seconds=60, what=log.read_text)
    finally:
        beat.terminate()
        beat.wait(30)
    wait_until(lambda: ready(client)[0] == 503, what="silence was not noticed")
    assert all(json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
