"""OAuth against the sandbox: PKCE, codes and refresh tokens that are good once, and grants that end only for good."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from deviantart import errors, oauth
from deviantart.client import Client
from deviantart.config import Config
from deviantart.errors import Category, DeviantArtError, Outcome
from deviantart.oauth import TokenPair
from tests.sandbox_process import SandboxProcess

REDIRECT = "http://127.0.0.1:4000/accounts/connect/callback/"


def config_of(sandbox: SandboxProcess, secret: str | None = None) -> Config:
    return Config(sandbox.client_id, secret or sandbox.client_secret, base_url=sandbox.base_url)


def visit(url: str) -> dict[str, str]:
    """What the browser brings back from the authorize page."""
    answer = requests.get(url, allow_redirects=False, timeout=10, headers={"User-Agent": "Browser"})
    assert answer.status_code == 302, answer.text
    location = answer.headers["Location"]
    assert location.startswith(REDIRECT)
    return {key: values[0] for key, values in parse_qs(urlsplit(location).query).items()}


def log_in(sandbox: SandboxProcess) -> tuple[str, str]:
    """A fresh code and the verifier that belongs to it."""
    sandbox.profile(auto_approve=True, auto_approve_username="artist")
    verifier, challenge = oauth.new_pkce()
    url = oauth.authorize_url(config_of(sandbox), redirect_uri=REDIRECT, state="state-1", challenge=challenge)
    brought = visit(url)
    assert brought["state"] == "state-1"
    return brought["code"], verifier


def exchange(sandbox: SandboxProcess, code: str, verifier: str, **options: Any) -> TokenPair:
    given = {"redirect_uri": REDIRECT, **options}
    return oauth.exchange_code(config_of(sandbox), code=code, verifier=verifier, **given)


def grant(sandbox: SandboxProcess) -> TokenPair:
    return exchange(sandbox, *log_in(sandbox))


def whoami(sandbox: SandboxProcess, pair: TokenPair) -> str:
    return Client(config_of(sandbox), pair.access_token).whoami().username


# --- beginning


def test_a_challenge_is_the_sha256_of_its_verifier() -> None:
    verifier, challenge = oauth.new_pkce()
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
    digest = hashlib.sha256(verifier.encode()).digest()
    assert challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert oauth.new_pkce()[0] != verifier


def test_states_are_long_and_never_the_same() -> None:
    assert len(oauth.new_state()) >= 43
    assert oauth.new_state() != oauth.new_state()


def test_the_browser_is_sent_with_everything_that_is_needed() -> None:
    url = oauth.authorize_url(
        Config("1001", "client-secret"), redirect_uri=REDIRECT, state="s&=", challenge="c", force_login=True
    )
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://www.deviantart.com/oauth2/authorize"
    assert parse_qs(parts.query) == {
        "response_type": ["code"],
        "client_id": ["1001"],
        "redirect_uri": [REDIRECT],
        "scope": ["basic user browse stash publish gallery"],
        "state": ["s&="],
        "code_challenge": ["c"],
        "code_challenge_method": ["S256"],
        "view": ["login"],
    }
    assert "client-secret" not in url


# --- from the code to the tokens


def test_a_login_brings_a_pair_that_works(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    assert pair.expires_in == 3600
    assert set(pair.scopes) == set(oauth.SCOPES)
    assert pair.lacks() == ()
    assert whoami(sandbox, pair) == "artist"


def test_fewer_scopes_than_asked_for_are_seen(sandbox: SandboxProcess) -> None:
    sandbox.profile(grant_scopes=["basic", "user", "browse", "stash"])
    assert grant(sandbox).lacks() == ("publish", "gallery")


def test_a_code_is_good_once(sandbox: SandboxProcess) -> None:
    code, verifier = log_in(sandbox)
    exchange(sandbox, code, verifier)
    with pytest.raises(errors.CodeRefused):
        exchange(sandbox, code, verifier)


def test_a_code_that_is_too_old_is_refused(sandbox: SandboxProcess) -> None:
    code, verifier = log_in(sandbox)
    sandbox.advance(61)
    with pytest.raises(errors.CodeRefused):
        exchange(sandbox, code, verifier)


def test_a_code_needs_its_own_verifier(sandbox: SandboxProcess) -> None:
    code, _ = log_in(sandbox)
    with pytest.raises(errors.CodeRefused):
        exchange(sandbox, code, oauth.new_pkce()[0])


@pytest.mark.parametrize("challenge", ["", "too-short", "!" * 43])
def test_a_login_without_a_right_challenge_is_refused(sandbox: SandboxProcess, challenge: str) -> None:
    sandbox.profile(auto_approve=True)
    url = oauth.authorize_url(config_of(sandbox), redirect_uri=REDIRECT, state="s", challenge=challenge)
    assert visit(url)["error"] == "invalid_request"


def test_another_redirect_address_is_the_operators_problem(sandbox: SandboxProcess) -> None:
    code, verifier = log_in(sandbox)
    with pytest.raises(errors.ClientRefused):
        exchange(sandbox, code, verifier, redirect_uri="http://127.0.0.1:4000/elsewhere/")


def test_a_wrong_secret_is_the_operators_problem_and_no_artists(sandbox: SandboxProcess) -> None:
    code, verifier = log_in(sandbox)
    refresh_token = grant(sandbox).refresh_token
    wrong = config_of(sandbox, secret="0123456789abcdef")
    for call in (
        lambda: oauth.exchange_code(wrong, code=code, verifier=verifier, redirect_uri=REDIRECT),
        lambda: oauth.refresh(wrong, refresh_token),
    ):
        with pytest.raises(errors.ClientRefused) as raised:
            call()
        assert raised.value.category is Category.UNKNOWN
    assert oauth.refresh(config_of(sandbox), refresh_token).access_token


# --- refreshing


def test_a_refresh_brings_another_pair_and_spends_the_old_token(sandbox: SandboxProcess) -> None:
    first = grant(sandbox)
    second = oauth.refresh(config_of(sandbox), first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert second.access_token != first.access_token
    assert whoami(sandbox, second) == "artist"
    with pytest.raises(errors.GrantDead) as raised:
        oauth.refresh(config_of(sandbox), first.refresh_token)
    assert (raised.value.category, raised.value.outcome) == (Category.AUTH_ERROR, Outcome.NO)
    assert oauth.refresh(config_of(sandbox), second.refresh_token).access_token


def test_a_refresh_whose_answer_was_lost_is_unknown_and_has_spent_the_token(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "reset_after_commit"}])
    with pytest.raises(errors.AnswerLost) as raised:
        oauth.refresh(config_of(sandbox), pair.refresh_token)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert whoami(sandbox, pair) == "artist"
    with pytest.raises(errors.GrantDead):
        oauth.refresh(config_of(sandbox), pair.refresh_token)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ({"do": "reset_before"}, errors.AnswerLost),
        ({"do": "status", "status": 500}, errors.ServerFailed),
        ({"do": "status", "status": 503}, errors.ServerFailed),
        ({"do": "status", "status": 429}, errors.RateLimited),
        ({"do": "html"}, errors.BlockPage),
        ({"do": "html", "status": 504}, errors.ServerFailed),
        ({"do": "html", "status": 401}, errors.ServerFailed),
        ({"do": "blank"}, errors.BadAnswer),
        ({"do": "truncate"}, errors.AnswerLost),
    ],
    ids=lambda case: "-".join(str(part) for part in case.values()) if isinstance(case, dict) else "",
)
def test_trouble_at_a_refresh_ends_no_grant(
    sandbox: SandboxProcess, fault: dict[str, Any], found: type[DeviantArtError]
) -> None:
    pair = grant(sandbox)
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
    with pytest.raises(found) as raised:
        oauth.refresh(config_of(sandbox), pair.refresh_token)
    assert raised.value.category is not Category.AUTH_ERROR
    assert oauth.refresh(config_of(sandbox), pair.refresh_token).access_token


def test_a_refresh_token_dies_after_three_months(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    sandbox.advance(91 * 86400)
    with pytest.raises(errors.GrantDead):
        oauth.refresh(config_of(sandbox), pair.refresh_token)


def test_an_artist_who_takes_it_back_ends_the_grant(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    sandbox.revoke("artist")
    with pytest.raises(errors.TokenExpired):
        whoami(sandbox, pair)
    with pytest.raises(errors.GrantDead):
        oauth.refresh(config_of(sandbox), pair.refresh_token)


# --- ending


def test_revoking_ends_everything(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    assert oauth.revoke(config_of(sandbox), pair.refresh_token) is True
    with pytest.raises(errors.TokenExpired):
        whoami(sandbox, pair)
    with pytest.raises(errors.GrantDead):
        oauth.refresh(config_of(sandbox), pair.refresh_token)


def test_revoking_one_grant_leaves_the_others(sandbox: SandboxProcess) -> None:
    one, other = grant(sandbox), grant(sandbox)
    assert oauth.revoke(config_of(sandbox), one.refresh_token, refresh_only=True) is True
    with pytest.raises(errors.GrantDead):
        oauth.refresh(config_of(sandbox), one.refresh_token)
    assert oauth.refresh(config_of(sandbox), other.refresh_token).access_token


def test_a_token_that_deviantart_does_not_know_is_as_good_as_revoked(sandbox: SandboxProcess) -> None:
    assert oauth.revoke(config_of(sandbox), "0" * 40) is False


def test_trouble_at_revoking_is_not_taken_for_done(sandbox: SandboxProcess) -> None:
    pair = grant(sandbox)
    sandbox.faults([{"match": {"path": "/oauth2/revoke"}, "do": "status", "status": 500}])
    with pytest.raises(errors.ServerFailed):
        oauth.revoke(config_of(sandbox), pair.refresh_token)
