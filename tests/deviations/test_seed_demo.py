"""The demonstration, made against a real sandbox and real storage."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import DeviantArtAccount
from accounts.services.secrets import ensure_keys
from deviations.models import Deviation
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def connected(sandbox: SandboxProcess, settings: Any) -> None:
    settings.DEVIANTART_BASE_URL = sandbox.base_url
    settings.DEVIANTART_CLIENT_ID = sandbox.client_id
    settings.DEVIANTART_CLIENT_SECRET = sandbox.client_secret
    settings.ISEKAI_OPEN_REGISTRATION = True
    ensure_keys()


def seed(**options: Any) -> dict[str, Any]:
    out = io.StringIO()
    call_command("seed_demo", "--json", stdout=out, stderr=io.StringIO(), **options)
    return json.loads(out.getvalue().splitlines()[-1])


def test_it_connects_artists_and_gives_them_drafts_and_scheduled_works(sandbox: SandboxProcess, client: Client):
    made = seed(artists=2, works=4)
    assert made["sandbox_url"] == sandbox.base_url
    assert DeviantArtAccount.objects.filter(state="active").count() == 2
    assert sorted(Deviation.objects.values_list("status", flat=True)) == ["draft"] * 4 + ["scheduled"] * 4
    key = made["artists"][0]["api_key"]
    answer = client.get("/api/deviations/", headers={"Authorization": f"Bearer {key}"})
    assert answer.json()["count"] == 4


def test_running_it_again_adds(sandbox: SandboxProcess):
    first, second = seed(artists=1, works=1), seed(artists=1, works=1)
    assert first["artists"][0]["username"] != second["artists"][0]["username"]
    assert Deviation.objects.count() == 2


def test_it_never_touches_the_real_deviantart(settings: Any):
    settings.DEVIANTART_BASE_URL = settings.DEVIANTART_OFFICIAL_URL
    with pytest.raises(CommandError, match="never touches the real DeviantArt"):
        seed(artists=1, works=1)
    assert not DeviantArtAccount.objects.exists()


def test_a_sandbox_that_is_away_is_named(settings: Any):
    settings.DEVIANTART_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match="sandbox does not answer"):
        seed(artists=1, works=1)


@pytest.mark.parametrize("count", ["0", "-1", "many", "1001", "1.5"])
def test_a_wrong_count_is_refused(count: str):
    with pytest.raises(CommandError, match="no number from 1 to 1000"):
        call_command("seed_demo", "--artists", count)
