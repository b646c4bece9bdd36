"""How many requests the DeviantArt sandbox answers: one process, one core, its journal on."""

import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests

from benchmarks.report import Measurement, percentile, report

ROOT = Path(__file__).resolve().parent.parent
REQUESTS = 8000
CONNECTIONS = 16
STARTS = 5
API = "/api/v1/oauth2"
NO_LIMIT = {"burst": 10**9, "refill_per_second": 10**9}
HARMLESS = {"match": {"path": "*"}, "do": "status", "status": 503, "chance": 0}


@dataclass(frozen=True)
class Scenario:
    """What is asked for, again and again, of a sandbox with these settings."""

    name: str
    path: str
    settings: dict[str, Any] = field(default_factory=dict)
    form: dict[str, str] | None = None


SCENARIOS = [
    Scenario("placebo", f"{API}/placebo"),
    Scenario(
        "placebo, with limits, episodes and drawn faults to be looked through",
        f"{API}/placebo",
        {
            "profile": "hostile",
            "wait_scale": 0,
            "limits": {"user": NO_LIMIT, "application": NO_LIMIT},
            "episodes": {"waf": {"every_seconds": 10**9, "seconds": [1, 1]}},
            "error_chances": {"good": 0},
            "drawn_faults": [HARMLESS] * 30,
        },
    ),
    Scenario("gallery/all, 10 works a page", f"{API}/gallery/all"),
    Scenario("publish, refused", f"{API}/stash/publish", form={"itemid": "1", "is_mature": "false"}),
]


class Running:
    """A sandbox of its own, from start to end; ``processor_seconds`` is known when it has ended."""

    def __init__(self) -> None:
        self._before = _children_seconds()
        self.processor_seconds = 0.0
        command = [sys.executable, "-m", "deviantart.sandbox", "--port", "0", "--seed", "1"]
        began = time.perf_counter()
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base_url = self._process.stdout.readline().removeprefix("sandbox ready on ").strip()
        self.start_seconds = time.perf_counter() - began

    def control(self, method: str, name: str, body: Any) -> Any:
        answer = requests.request(method, f"{self.base_url}/_sandbox/{name}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def end(self) -> None:
        self._process.terminate()
        self._process.communicate()
        self.processor_seconds = _children_seconds() - self._before


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _client(host: str, port: int, request: bytes, count: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(count):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


async def _load(base_url: str, request: bytes) -> float:
    """Seconds until all requests were answered."""
    address = urlsplit(base_url)
    host, port = address.hostname or "", address.port or 0
    began = time.perf_counter()
    each = REQUESTS // CONNECTIONS
    await asyncio.gather(*(_client(host, port, request, each) for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


def _request(scenario: Scenario, token: str) -> bytes:
    body = urlencode(scenario.form or {})
    lines = [
        f"{'POST' if scenario.form else 'GET'} {scenario.path} HTTP/1.1",
        "Host: sandbox",
        "User-Agent: benchmark/1",
        "Accept-Encoding: gzip",
        f"Authorization: Bearer {token}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _measure(scenario: Scenario, idle_seconds: float) -> list[Measurement]:
    sandbox = Running()
    token = sandbox.control("POST", "tokens", {"username": "anna"})["access_token"]
    sandbox.control("POST", "seed", {"username": "anna", "deviations": 300, "folders": 10})
    sandbox.control("PUT", "profile", scenario.settings)
    took = asyncio.run(_load(sandbox.base_url, _request(scenario, token)))
    answered = sandbox.control("GET", "summary", {})["answers"][scenario.path]
    sandbox.end()
    assert sum(answered.values()) == REQUESTS
    used = sandbox.processor_seconds - idle_seconds
    return [
        Measurement(f"{scenario.name}: answered", REQUESTS / took, "1/s"),
        Measurement(f"{scenario.name}: for each second of its processor time", REQUESTS / used, "1/s"),
    ]


def measure() -> Sequence[Measurement]:
    start_seconds, idle_seconds = [], []
    for _ in range(STARTS):
        sandbox = Running()
        sandbox.control("POST", "seed", {"username": "anna", "deviations": 300, "folders": 10})
        sandbox.end()
        start_seconds.append(sandbox.start_seconds)
        idle_seconds.append(sandbox.processor_seconds)
    found = [Measurement("ready after, the median of its starts", percentile(start_seconds, 0.5) * 1000, "ms")]
    for scenario in SCENARIOS:
        found += _measure(scenario, percentile(idle_seconds, 0.5))
    return found


if __name__ == "__main__":
    report(measure)
