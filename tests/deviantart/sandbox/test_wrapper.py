"""Somebody else's client of DeviantArt agrees with the sandbox: the wrapper `deviantart` of PyPI.

Its package has the name of ours, so it lives in an environment of its own, made from the lock by the uv with which
`./dev` made that of the project.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox_process import SandboxProcess

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("wrapper.py")
ENVIRONMENT = ROOT / ".tools" / "wrapper"
# From before PKCE, and with its tokens in the query: an application of OAuth 2.0.
APP = {
    "client_id": "2000",
    "client_secret": "00112233445566778899aabbccddeeff",
    "redirect_uri": "http://127.0.0.1:1/cb",
}


@pytest.fixture(scope="module")
def artist_sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=11) as sandbox:
        sandbox.apps(
            APP["client_id"],
            client_secret=APP["client_secret"],
            redirect_uris=[APP["redirect_uri"]],
            name="Wrapper",
            oauth="2.0",
        )
        sandbox.seed("anna", deviations=40, folders=12, mature_share=0, deleted_share=0)
        sandbox.profile(auto_approve=True, auto_approve_username="anna", extra_key_chance=1)
        yield sandbox


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter that has the wrapper. Only the first run on a machine installs anything."""
    uv = shutil.which("uv") or shutil.which("uv", path=f"{ROOT}/.tools/bin:{ROOT}/.tools/uv/bin")
    assert uv is not None, "uv, with which ./dev installs everything, is neither on the PATH nor in .tools."
    command = [uv, "sync", "--locked", "--quiet", "--only-group", "wrapper", "--python", sys.executable]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return ENVIRONMENT / "bin" / "python"


def wrapper(python: Path, sandbox: SandboxProcess, step: str, **given: str) -> dict[str, Any]:
    # -I: neither this folder nor PYTHONPATH is searched, so that `deviantart` is the wrapper's.
    command = [str(python), "-I", "-W", "ignore", str(SCRIPT)]
    given = {**APP, **given, "base_url": sandbox.base_url, "step": step}
    run = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def seen(python: Path, artist_sandbox: SandboxProcess) -> dict[str, Any]:
    auth_uri = wrapper(python, artist_sandbox, "authorize")["auth_uri"]
    answer = requests.get(auth_uri, allow_redirects=False, timeout=20)
    (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
    return wrapper(python, artist_sandbox, "look around", code=code, username="anna")


def test_it_is_not_our_own_package(seen: dict[str, Any]) -> None:
    assert Path(seen["package"]).is_relative_to(ENVIRONMENT)


def test_it_gets_and_renews_its_tokens(seen: dict[str, Any]) -> None:
    assert seen["refreshed"] is True
    assert "400" in seen["used_code"]
    assert "400" in seen["reuse"]


def test_it_knows_the_artist(seen: dict[str, Any]) -> None:
    assert seen["me"] == ["anna", "regular"]
    assert seen["profile"] == "anna"


def test_it_reads_the_gallery_page_by_page(seen: dict[str, Any], artist_sandbox: SandboxProcess) -> None:
    published = [work["title"] for work in artist_sandbox.ledger()["deviations"]]
    assert seen["newest"] == published[::-1][:24]
    assert seen["pages"] == [True, 24, 16]
    assert len(seen["folders"]) == 13
    assert seen["folders"][0] == "Featured"
    assert seen["preloaded"][0] == 5


def test_it_reads_a_deviation_and_its_metadata(seen: dict[str, Any], artist_sandbox: SandboxProcess) -> None:
    newest = artist_sandbox.ledger()["deviations"][-1]
    assert seen["again"] == [newest["title"], newest["url"], "anna", 480]
    assert seen["published_time"].isdecimal()
    assert seen["metadata"][0] == [newest["title"], newest["tags"]]
    assert seen["submitted_with"] == "Isekai"
    assert requests.get(seen["download"], timeout=20).headers["Content-Type"] == "image/png"


def test_it_browses(seen: dict[str, Any]) -> None:
    assert seen["tags"] == ["seeded"]
    assert len(seen["tagged"]) == 5
    assert seen["more"] == ["anna", 5]
    assert seen["daily"] == 10


def test_it_takes_errors_for_errors(seen: dict[str, Any]) -> None:
    assert "404" in seen["gone"]
    assert "400" in seen["unknown"]
    assert "400" in seen["no_content"]


def test_as_it_was_published_it_gets_the_block_page_of_today(python: Path, artist_sandbox: SandboxProcess) -> None:
    assert "403" in wrapper(python, artist_sandbox, "old")["failure"]
