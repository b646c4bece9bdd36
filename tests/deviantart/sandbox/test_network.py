"""What a network does: refuse, break off, hang, and lose a connection between two requests."""

import http.client
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.deviantart.sandbox.artist import API, Artist, picture, wait_until
from tests.sandbox_process import SandboxProcess

HEADERS = {"User-Agent": "app/1", "Accept-Encoding": "gzip"}


def connection_to(sandbox: SandboxProcess) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.connect()
    return connection


def ask(connection: http.client.HTTPConnection, path: str = f"{API}/placebo") -> int:
    connection.request("GET", path, headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def can_connect(sandbox: SandboxProcess) -> bool:
    address = urlsplit(sandbox.base_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_nobody_can_connect_while_the_listener_is_closed(sandbox: SandboxProcess, anna: Artist) -> None:
    idle = connection_to(sandbox)
    assert ask(idle) == 401
    sandbox.refuse_connections(0.4)
    assert not can_connect(sandbox)
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)):
        ask(idle)
    wait_until(lambda: can_connect(sandbox))
    assert anna.get("/placebo").status_code == 200


def test_the_controls_of_a_test_wait_for_the_listener(sandbox: SandboxProcess) -> None:
    sandbox.refuse_connections(0.3)
    requests.Session.close(sandbox._session)  # or it would go on with its connection
    assert sandbox.summary()["deviations"] == 0
    assert can_connect(sandbox)


def test_a_call_under_way_survives_that_others_are_refused(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/placebo": 400})
    slow = connection_to(sandbox)
    slow.request("GET", f"{API}/placebo", headers=HEADERS)
    wait_until(lambda: sandbox.ledger()["requests"])
    sandbox.refuse_connections(0.2)
    assert slow.getresponse().status == 401
    wait_until(lambda: can_connect(sandbox))


@pytest.mark.parametrize(("after_commit", "deviations"), [(False, 0), (True, 1)])
def test_a_plan_can_close_the_listener(
    sandbox: SandboxProcess, anna: Artist, after_commit: bool, deviations: int
) -> None:
    itemid = anna.item()
    match = {"path": "/stash/publish"}
    sandbox.faults([{"match": match, "do": "refuse_connections", "seconds": 0.3, "after_commit": after_commit}])
    with pytest.raises(requests.ConnectionError):
        anna.publish(itemid)
    assert not can_connect(sandbox)
    assert sandbox.summary()["deviations"] == deviations
    wait_until(lambda: can_connect(sandbox))


def test_an_upload_is_reset_in_its_middle(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/stash/submit", "username": "anna"}, "do": "reset_in_body", "share": 0.3}])
    with pytest.raises(requests.ConnectionError):
        anna.submit(b"\x00" * 8_000_000)
    (entry,) = sandbox.ledger()["requests"]
    assert (entry["fault"], entry["cause"], entry["status"]) == ("reset_in_body", "plan", None)
    assert (entry["committed"], entry["ended"]) == (False, True)
    assert sandbox.ledger()["items"] == []
    assert anna.submit().status_code == 200


def test_an_upload_can_hang_in_its_middle(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/stash/submit"}, "do": "stall_in_body", "seconds": 0.3}])
    began = time.monotonic()
    assert anna.submit(picture(900, 700)).status_code == 200
    assert time.monotonic() - began > 0.29
    assert sandbox.ledger()["requests"][0]["fault"] == "stall_in_body"


def test_a_request_that_ended_in_its_body_counts_for_the_rest_of_the_plan(
    sandbox: SandboxProcess, anna: Artist
) -> None:
    match = {"path": "/stash/submit"}
    sandbox.faults(
        [{"match": match, "do": "reset_in_body"}, {"match": match | {"nth": 2}, "do": "status", "status": 503}]
    )
    with pytest.raises(requests.ConnectionError):
        anna.submit()
    assert anna.submit().status_code == 503
    assert anna.submit().status_code == 200


@pytest.mark.parametrize("late", [False, True])
def test_a_connection_that_was_promised_to_stay_is_closed(sandbox: SandboxProcess, anna: Artist, late: bool) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "close_keep_alive", "late": late}])
    connection = connection_to(sandbox)
    headers = {**HEADERS, "Authorization": anna.session.headers["Authorization"]}
    connection.request("GET", f"{API}/placebo", headers={name: str(value) for name, value in headers.items()})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, None)
    answer.read()
    assert connection.sock is not None
    connection.sock.settimeout(0.1 if late else 20)
    if late:
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        connection.sock.settimeout(20)
    else:
        assert connection.sock.recv(1) == b""
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected, BrokenPipeError)):
        ask(connection)
    (entry,) = sandbox.ledger()["requests"]
    assert (entry["fault"], entry["delivered"]) == ("close_keep_alive", True)


def test_an_answer_can_come_byte_by_byte(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "drip", "bytes_per_second": 200}])
    began = time.monotonic()
    assert anna.get("/placebo").json() == {"status": "success"}
    assert time.monotonic() - began > 0.1
    assert sandbox.ledger()["requests"][0]["delivered"] is True


def test_a_dripping_answer_ends_when_the_client_goes_away(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    sandbox.faults([{"match": {"path": "/stash/publish"}, "do": "drip", "bytes_per_second": 0.5}])
    # Each byte that comes begins a client's read timeout anew; here it is shorter than the wait for the first.
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{sandbox.base_url}{API}/stash/publish",
            headers=dict(anna.session.headers),
            data={"itemid": itemid, "is_mature": "0"},
            timeout=0.5,
        )
    wait_until(lambda: sandbox.ledger()["requests"][-1]["ended"])
    assert [work["delivered"] for work in sandbox.ledger()["deviations"]] == [False]


# --- time ------------------------------------------------------------------------------------------------------------


def test_bandwidth_is_drawn_for_each_connection(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(bandwidth_bytes_per_second={"min": 400_000, "max": 2_000_000})
    content = b"\x00" * 200_000
    took = []
    for _ in range(5):
        artist = anna.twin()
        began = time.monotonic()
        assert artist.submit(content).status_code == 200
        took.append(time.monotonic() - began)
    assert min(took) > 0.09
    assert max(took) - min(took) > 0.05


def test_all_waits_can_be_scaled(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(wait_scale=0, latency_ms={"*": 3_600_000}, bandwidth_bytes_per_second=1)
    sandbox.faults([{"match": {"path": "/stash/publish"}, "do": "stall", "seconds": 3600}])
    assert anna.publish(anna.item()).status_code == 200


def latencies(sandbox: SandboxProcess, artist: Artist, calls: int) -> list[float]:
    """What was drawn for each call; nobody waits for it."""
    for _ in range(calls):
        artist.get("/placebo")
    return [entry["latency_seconds"] for entry in sandbox.ledger()["requests"][-calls:]]


def test_latency_is_drawn_from_its_distribution(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(wait_scale=0, latency_ms={"*": {"median": 250, "p95": 900, "p99": 4000}})
    drawn = sorted(latencies(sandbox, anna, 200))
    assert 0.2 < drawn[100] < 0.3
    assert 0.6 < drawn[190] < 1.4
    assert 1.5 < drawn[198] < 12
    assert 0 < drawn[0] < 0.1


def test_a_large_upload_takes_longer(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(wait_scale=0, latency_ms={"/stash/submit": {"median": 1500, "per_mb": 400, "p99": 30_000}})
    for size in (1000, 10_000_000):
        for _ in range(5):
            anna.submit(b"\x00" * size)
    drawn = [entry["latency_seconds"] for entry in sandbox.ledger()["requests"]]
    assert sorted(drawn[5:])[2] > 2 + sorted(drawn[:5])[2]


def test_the_same_seed_gives_the_same_latencies(sandbox: SandboxProcess, anna: Artist) -> None:
    def drawn(seed: int) -> list[float]:
        sandbox.profile(seed=seed, wait_scale=0, latency_ms={"*": {"median": 4, "p99": 400}})
        return latencies(sandbox, anna, 6)

    first = drawn(8)
    assert drawn(8) == first
    assert drawn(9) != first
