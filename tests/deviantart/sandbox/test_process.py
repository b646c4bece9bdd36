"""The sandbox as a process: start, end, memory of its own, many clients."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, picture, wait_until
from tests.sandbox_process import SandboxProcess


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_everything_outlives_a_restart(tmp_path: Path, ending: str) -> None:
    sandbox = SandboxProcess(data=tmp_path)
    with sandbox:
        sandbox.profile(title_limit="refuse")
        sandbox.advance(600)
        anna = Artist(sandbox)
        live = anna.published(picture(seed=4), title="Pool")
        orphan = anna.item(title="Kept")
        address = sandbox.base_url
        before, counts = sandbox.ledger(), sandbox.summary()
        getattr(sandbox, ending)()
        sandbox.start()
        assert sandbox.base_url == address
        assert sandbox.ledger() == before
        assert sandbox.summary() == counts
        assert sandbox.profile()["title_limit"] == "refuse"
        assert sandbox.advance(0)["offset_seconds"] == 600
        again = anna.twin()
        work = again.get(f"/deviation/{live['deviationid']}").json()
        assert again.session.get(work["content"]["src"], timeout=20).content == picture(seed=4)
        assert again.publish(orphan).status_code == 200
        assert requests.get(live["url"], timeout=20).status_code == 200
        assert len({entry["id"] for entry in sandbox.ledger()["requests"]}) == len(sandbox.ledger()["requests"])


def test_ids_do_not_come_back_after_a_restart_with_the_same_seed(tmp_path: Path) -> None:
    with SandboxProcess(data=tmp_path, seed=5) as sandbox:
        before = Artist(sandbox).item()
        sandbox.restart()
        assert Artist(sandbox).item() != before


@pytest.mark.parametrize(("seeds", "same"), [((5, 5), True), ((5, 6), False), ((None, None), False)])
def test_a_seed_makes_ids_repeatable(seeds: tuple[int | None, int | None], same: bool) -> None:
    ids = []
    for seed in seeds:
        with SandboxProcess(seed=seed) as sandbox:
            ids.append(Artist(sandbox).published()["deviationid"])
    assert (ids[0] == ids[1]) is same


def test_without_a_folder_nothing_stays(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "deviantart.sandbox", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("sandbox ready on http://127.0.0.1:")
        assert list(tmp_path.iterdir()) != []
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_even_in_the_middle_of_a_stall(wish: signal.Signals) -> None:
    with SandboxProcess() as sandbox:
        sandbox.faults([{"match": {"path": "*"}, "do": "stall", "seconds": 100}])
        address = urlsplit(sandbox.base_url)
        with socket.create_connection((address.hostname or "", address.port or 0)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: sandbox.ledger()["requests"])
            os.kill(sandbox.pid, wish)
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_a_taken_port_is_told_in_one_line() -> None:
    with SandboxProcess() as sandbox:
        port = sandbox.base_url.rpartition(":")[2]
        command = [sys.executable, "-m", "deviantart.sandbox", "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert second.stderr == f"The sandbox cannot listen on 127.0.0.1, port {port}: Address already in use.\n"


def test_many_clients_are_served_at_the_same_time(sandbox: SandboxProcess) -> None:
    artists = [Artist(sandbox, f"artist-{number}") for number in range(20)]

    def work(artist: Artist) -> None:
        for number in range(5):
            artist.published(picture(32, 32, seed=number), title=f"Work {number}")

    with ThreadPoolExecutor(len(artists)) as pool:
        list(pool.map(work, artists))
    summary = sandbox.summary()
    assert (summary["deviations"], summary["items"], summary["published_twice"], summary["orphans"]) == (100, 100, 0, 0)
    assert set(summary["per_username"].values()) == {5}


def test_it_imports_nothing_of_its_neighbours() -> None:
    listing = (
        "import sys, deviantart.sandbox.__main__\n"
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] in "
        "{'isekai', 'accounts', 'deviations', 'automations', 'publisher', 'deviantart', 'django'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, timeout=20, check=True)
    assert [name for name in loaded.stdout.split() if not name.startswith("deviantart.sandbox")] == ["deviantart"]
