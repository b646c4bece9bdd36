"""Authorisation: the page, PKCE, codes, tokens, rotation, revocation."""

import base64
import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from tests.deviantart.sandbox.artist import API, Artist, refusal
from tests.sandbox_process import SandboxProcess

CALLBACK = "http://127.0.0.1:4000/accounts/callback"
VERIFIER = "a-verifier-of-sufficient-length-0123456789~._"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
INVALID_REFRESH = "The refresh_token is invalid."


def authorize_query(sandbox: SandboxProcess, **changes: str | None) -> str:
    """The query of a good authorize request; None leaves a parameter out."""
    query: dict[str, str | None] = {
        "response_type": "code",
        "client_id": sandbox.client_id,
        "redirect_uri": CALLBACK,
        "scope": "basic user browse stash publish",
        "state": "a/state with=signs&",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    return urlencode({name: value for name, value in query.items() if value is not None})


def authorize(sandbox: SandboxProcess, **changes: str | None) -> requests.Response:
    return requests.get(
        f"{sandbox.base_url}/oauth2/authorize?{authorize_query(sandbox, **changes)}", allow_redirects=False, timeout=20
    )


def decide(sandbox: SandboxProcess, form: dict[str, str], **changes: str | None) -> requests.Response:
    return requests.post(
        f"{sandbox.base_url}/oauth2/authorize?{authorize_query(sandbox, **changes)}",
        data=form,
        allow_redirects=False,
        timeout=20,
    )


def outcome(answer: requests.Response) -> dict[str, str]:
    """What the application is told by a redirect."""
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def a_code(sandbox: SandboxProcess, username: str = "anna", **changes: str | None) -> str:
    return outcome(decide(sandbox, {"new_username": username, "decision": "allow"}, **changes))["code"]


def token(sandbox: SandboxProcess, **fields: Any) -> requests.Response:
    """A token request of the configured application; None leaves a field out."""
    form = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret, **fields}
    return requests.post(f"{sandbox.base_url}/oauth2/token", data=form, timeout=20)


def exchange(sandbox: SandboxProcess, code: str, **changes: Any) -> requests.Response:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return token(sandbox, **{**fields, **changes})


def refresh(sandbox: SandboxProcess, refresh_token: str, **changes: Any) -> requests.Response:
    return token(sandbox, grant_type="refresh_token", refresh_token=refresh_token, **changes)


def whoami(sandbox: SandboxProcess, access_token: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {access_token}"}
    return requests.get(f"{sandbox.base_url}{API}/user/whoami", headers=headers, timeout=20)


def revoke(sandbox: SandboxProcess, **form: str) -> requests.Response:
    return requests.post(f"{sandbox.base_url}/oauth2/revoke", data=form, timeout=20)


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_newcomer_connects_with_a_made_up_artist(sandbox: SandboxProcess) -> None:
    page = authorize(sandbox)
    assert page.status_code == 200
    assert "This is the DeviantArt sandbox, not DeviantArt." in page.text
    assert 'name="username"' not in page.text  # there is nobody to choose yet
    assert re.search(r'name="new_username"[^>]* value="sandbox-artist"', page.text)
    told = outcome(decide(sandbox, {"new_username": "sandbox-artist", "decision": "allow"}))
    assert told["state"] == "a/state with=signs&"
    assert told["iss"] == sandbox.base_url
    tokens = exchange(sandbox, told["code"]).json()
    assert whoami(sandbox, tokens["access_token"]).json()["username"] == "sandbox-artist"


def test_an_existing_artist_can_be_chosen(sandbox: SandboxProcess) -> None:
    sandbox.users("anna")
    userid = sandbox.users("bo")["userid"]
    page = authorize(sandbox).text
    assert '<option value="anna">' in page
    assert '<option value="bo">' in page
    code = outcome(decide(sandbox, {"username": "bo", "new_username": "", "decision": "allow"}))["code"]
    tokens = exchange(sandbox, code).json()
    assert whoami(sandbox, tokens["access_token"]).json()["userid"] == userid


def test_a_name_that_exists_is_that_artist_whatever_its_case(sandbox: SandboxProcess) -> None:
    userid = sandbox.users("Anna")["userid"]
    tokens = exchange(sandbox, a_code(sandbox, "aNNa")).json()
    assert whoami(sandbox, tokens["access_token"]).json()["userid"] == userid


@pytest.mark.parametrize("name", ["", "a b", "<b>", "api", "-x", "x" * 51])
def test_a_name_that_cannot_be_is_asked_for_again(sandbox: SandboxProcess, name: str) -> None:
    answer = decide(sandbox, {"new_username": name, "decision": "allow"})
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert sandbox.summary()["users"] == 0


def test_denying_tells_the_application(sandbox: SandboxProcess) -> None:
    told = outcome(decide(sandbox, {"new_username": "anna", "decision": "deny"}))
    assert told == {
        "error": "access_denied",
        "error_description": "The resource owner or authorization server denied the request",
        "state": "a/state with=signs&",
        "iss": sandbox.base_url,
    }
    assert sandbox.summary()["users"] == 0


def test_the_page_escapes_what_it_is_given(sandbox: SandboxProcess) -> None:
    page = authorize(sandbox, state='"><script>alert(1)</script>')
    assert "<script>" not in page.text


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"code_challenge": None}, "invalid_request", "The code_challenge parameter is required."),
        ({"code_challenge": "short"}, "invalid_request", "The code_challenge format is invalid."),
        ({"code_challenge": "!" * 43}, "invalid_request", "The code_challenge format is invalid."),
        ({"code_challenge_method": "plain"}, "invalid_request", "The code_challenge_method MUST be S256."),
        ({"code_challenge_method": None}, "invalid_request", "The code_challenge_method MUST be S256."),
        ({"response_type": "token"}, "unsupported_response_type", "The response_type MUST be code."),
    ],
)
def test_a_request_that_breaks_the_rules_is_told_back(
    sandbox: SandboxProcess, changes: dict[str, str | None], error: str, description: str
) -> None:
    for answer in (
        authorize(sandbox, **changes),
        decide(sandbox, {"new_username": "anna", "decision": "allow"}, **changes),
    ):
        told = outcome(answer)
        assert (told["error"], told["error_description"]) == (error, description)
        assert told["iss"] == sandbox.base_url
        assert "code" not in told


def test_an_unknown_client_is_never_redirected(sandbox: SandboxProcess) -> None:
    answer = authorize(sandbox, client_id="999")
    assert answer.status_code == 400
    assert "Invalid client." in answer.text


@pytest.mark.parametrize(
    ("registered", "oauth", "asked", "accepted"),
    [
        ([], "2.1", "http://127.0.0.1:4000/callback", True),
        ([], "2.1", "http://localhost:81/any?x=1", True),
        ([], "2.1", "http://evil.example/callback", False),
        ([], "2.1", "http://127.0.0.1.evil.example/callback", False),
        ([], "2.1", "", False),
        (["https://app.example/cb"], "2.1", "https://app.example/cb", True),
        (["https://app.example/cb"], "2.1", "https://app.example/cb/more", False),
        (["https://app.example/cb"], "2.1", "http://127.0.0.1:4000/callback", False),
        (["https://app.example/cb"], "2.0", "https://app.example/cb/more", True),
        (["https://app.example/cb"], "2.0", "https://app.example/other", False),
    ],
)
def test_the_redirect_uri_must_be_a_registered_one(
    sandbox: SandboxProcess, registered: list[str], oauth: str, asked: str, accepted: bool
) -> None:
    sandbox.apps("2000", client_secret="s", redirect_uris=registered, oauth=oauth)
    answer = authorize(sandbox, client_id="2000", redirect_uri=asked)
    assert answer.status_code == (200 if accepted else 400)
    assert accepted or "The redirect_uri is not valid" in answer.text


def test_an_application_of_oauth_2_0_needs_no_pkce(sandbox: SandboxProcess) -> None:
    sandbox.apps("2000", client_secret="s", oauth="2.0")
    code = a_code(sandbox, client_id="2000", code_challenge=None, code_challenge_method=None)
    answer = exchange(sandbox, code, client_id="2000", client_secret="s", code_verifier=None)
    assert answer.status_code == 200


def test_the_redirect_keeps_the_query_of_the_redirect_uri(sandbox: SandboxProcess) -> None:
    told = outcome(
        decide(sandbox, {"new_username": "anna", "decision": "allow"}, redirect_uri="http://localhost:4000/cb?next=%2F")
    )
    assert told["next"] == "/"
    assert "code" in told


# --- approving by itself ---------------------------------------------------------------------------------------------


def test_auto_approve_skips_the_page(sandbox: SandboxProcess) -> None:
    sandbox.users("anna")
    sandbox.profile(auto_approve=True)
    for changes, username in (({}, "anna"), ({"username": "bo"}, "bo")):
        tokens = exchange(sandbox, outcome(authorize(sandbox, **changes))["code"]).json()
        assert whoami(sandbox, tokens["access_token"]).json()["username"] == username
    sandbox.profile(auto_approve_username="cleo")
    tokens = exchange(sandbox, outcome(authorize(sandbox))["code"]).json()
    assert whoami(sandbox, tokens["access_token"]).json()["username"] == "cleo"


def test_auto_approve_still_checks_the_request(sandbox: SandboxProcess) -> None:
    sandbox.profile(auto_approve=True)
    assert outcome(authorize(sandbox, code_challenge=None))["error"] == "invalid_request"
    assert authorize(sandbox, redirect_uri="http://evil.example/").status_code == 400
    assert authorize(sandbox, username="a b").status_code == 400


# --- codes -----------------------------------------------------------------------------------------------------------


def test_a_code_buys_a_pair_of_the_known_shapes(sandbox: SandboxProcess) -> None:
    body = exchange(sandbox, a_code(sandbox)).json()
    assert re.fullmatch(r"[0-9a-f]{50}", body.pop("access_token"))
    assert re.fullmatch(r"[0-9a-f]{40}", body.pop("refresh_token"))
    assert body == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "basic user browse stash publish",
        "status": "success",
    }


def test_a_code_is_good_once(sandbox: SandboxProcess) -> None:
    code = a_code(sandbox)
    assert exchange(sandbox, code).status_code == 200
    again = exchange(sandbox, code)
    assert refusal(again) == (400, "invalid_request", None)
    assert again.json()["error_description"] == "Incorrect authorization code."


def test_a_code_is_good_for_60_virtual_seconds(sandbox: SandboxProcess) -> None:
    early, late = a_code(sandbox), a_code(sandbox)
    sandbox.advance(50)
    assert exchange(sandbox, early).status_code == 200
    sandbox.advance(10)
    assert exchange(sandbox, late).json()["error_description"] == "Incorrect authorization code."


@pytest.mark.parametrize(
    ("changes", "status", "description"),
    [
        ({"code": "0" * 40}, 400, "Incorrect authorization code."),
        (
            {"redirect_uri": "http://127.0.0.1:4000/other"},
            400,
            "redirect_uri does not match authorized redirect_uri.",
        ),
        ({"redirect_uri": None}, 400, "redirect_uri does not match authorized redirect_uri."),
        ({"code_verifier": None}, 400, "The code_verifier parameter is required."),
        ({"code_verifier": "b" * 43}, 400, "The code_verifier is invalid."),
        ({"client_secret": "wrong"}, 401, "Client authentication failed."),
        ({"client_secret": None}, 401, "Client authentication failed."),
        ({"client_id": "999"}, 401, "Client authentication failed."),
        ({"grant_type": "password"}, 400, "Unknown grant_type"),
        ({"grant_type": None}, 400, "Unknown grant_type"),
    ],
)
def test_a_bad_exchange_is_refused_in_deviantarts_words(
    sandbox: SandboxProcess, changes: dict[str, Any], status: int, description: str
) -> None:
    answer = exchange(sandbox, **{"code": a_code(sandbox), **changes})
    error = "invalid_client" if status == 401 else "invalid_request"
    assert refusal(answer) == (status, error, None)
    assert answer.json()["error_description"] == description


def test_a_wrong_verifier_spends_the_code(sandbox: SandboxProcess) -> None:
    code = a_code(sandbox)
    exchange(sandbox, code, code_verifier="b" * 43)
    assert exchange(sandbox, code).status_code == 400


def test_a_code_belongs_to_its_application(sandbox: SandboxProcess) -> None:
    sandbox.apps("2000", client_secret="s")
    answer = exchange(sandbox, a_code(sandbox), client_id="2000", client_secret="s")
    assert answer.json()["error_description"] == "Incorrect authorization code."


def test_the_application_may_use_http_basic(sandbox: SandboxProcess) -> None:
    fields = {
        "grant_type": "authorization_code",
        "code": a_code(sandbox),
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    for secret, status in (("wrong", 401), (sandbox.client_secret, 200)):
        answer = requests.post(
            f"{sandbox.base_url}/oauth2/token", data=fields, auth=(sandbox.client_id, secret), timeout=20
        )
        assert answer.status_code == status


def test_a_body_that_is_no_form_has_no_grant_type(sandbox: SandboxProcess) -> None:
    answer = requests.post(f"{sandbox.base_url}/oauth2/token", json={"grant_type": "refresh_token"}, timeout=20)
    assert refusal(answer) == (400, "invalid_request", None)
    assert answer.json()["error_description"] == "Unknown grant_type"


def test_fewer_scopes_may_be_granted_than_were_asked_for(sandbox: SandboxProcess) -> None:
    sandbox.profile(grant_scopes=["basic", "user"])
    assert exchange(sandbox, a_code(sandbox)).json()["scope"] == "basic user"
    sandbox.profile(grant_scopes=None)
    assert exchange(sandbox, a_code(sandbox, scope=None)).json()["scope"] == "basic"
    assert exchange(sandbox, a_code(sandbox, scope="user made.up")).json()["scope"] == "user"


# --- refreshing ------------------------------------------------------------------------------------------------------


def test_a_refresh_rotates_and_the_old_token_is_dead(sandbox: SandboxProcess) -> None:
    first = sandbox.tokens("anna")
    answer = refresh(sandbox, first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == first["scope"]
    reused = refresh(sandbox, first["refresh_token"])
    assert refusal(reused) == (400, "invalid_request", None)
    assert reused.json()["error_description"] == INVALID_REFRESH
    # Neither the earlier access token nor the newer pair suffers from it.
    assert whoami(sandbox, first["access_token"]).status_code == 200
    assert whoami(sandbox, second["access_token"]).status_code == 200
    assert refresh(sandbox, second["refresh_token"]).status_code == 200


def test_strict_reuse_ends_the_whole_family(sandbox: SandboxProcess) -> None:
    sandbox.profile(strict_reuse=True)
    first, stranger = sandbox.tokens("anna"), sandbox.tokens("anna")
    second = refresh(sandbox, first["refresh_token"]).json()
    assert refresh(sandbox, first["refresh_token"]).json()["error_description"] == INVALID_REFRESH
    assert whoami(sandbox, second["access_token"]).status_code == 401
    assert refresh(sandbox, second["refresh_token"]).json()["error_description"] == INVALID_REFRESH
    assert whoami(sandbox, stranger["access_token"]).status_code == 200


def test_of_many_refreshes_at_once_exactly_one_wins(sandbox: SandboxProcess) -> None:
    first = sandbox.tokens("anna")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: refresh(sandbox, first["refresh_token"]), range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 11


def test_a_refresh_token_lives_90_days(sandbox: SandboxProcess) -> None:
    early, late = sandbox.tokens("anna"), sandbox.tokens("anna")
    sandbox.advance(89 * 86400)
    assert refresh(sandbox, early["refresh_token"]).status_code == 200
    sandbox.advance(86400)
    assert refresh(sandbox, late["refresh_token"]).json()["error_description"] == INVALID_REFRESH


def test_a_refresh_token_belongs_to_its_application(sandbox: SandboxProcess) -> None:
    sandbox.apps("2000", client_secret="s")
    first = sandbox.tokens("anna")
    assert refresh(sandbox, first["refresh_token"], client_id="2000", client_secret="s").status_code == 400
    assert refresh(sandbox, first["refresh_token"], client_secret="wrong").status_code == 401
    assert refresh(sandbox, first["refresh_token"]).status_code == 200


def test_a_public_application_refreshes_without_a_secret(sandbox: SandboxProcess) -> None:
    sandbox.apps("2000")
    first = sandbox.tokens("anna", client_id="2000")
    assert refresh(sandbox, first["refresh_token"], client_id="2000", client_secret=None).status_code == 200


# --- an application's own token --------------------------------------------------------------------------------------


def test_client_credentials_open_public_endpoints_only(sandbox: SandboxProcess) -> None:
    Artist(sandbox, "anna").published()
    body = token(sandbox, grant_type="client_credentials").json()
    assert set(body) == {"access_token", "token_type", "expires_in", "status"}
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    base = sandbox.base_url + API
    assert requests.post(f"{base}/placebo", headers=headers, timeout=20).status_code == 200
    gallery = requests.get(f"{base}/gallery/all", params={"username": "anna"}, headers=headers, timeout=20)
    assert len(gallery.json()["results"]) == 1
    for answer in (
        whoami(sandbox, body["access_token"]),
        requests.post(f"{base}/stash/submit", headers=headers, files={"f": ("a.png", b"x")}, timeout=20),
        requests.post(f"{base}/stash/publish", headers=headers, data={"itemid": 1}, timeout=20),
        requests.get(f"{base}/gallery/all", headers=headers, timeout=20),
    ):
        assert refusal(answer) == (401, "invalid_token", None)


def test_client_credentials_take_no_scope(sandbox: SandboxProcess) -> None:
    answer = token(sandbox, grant_type="client_credentials", scope="browse")
    assert refusal(answer) == (400, "invalid_request", None)
    assert answer.json()["error_description"].startswith("Scope has not been implemented")


# --- revoking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_ends_everything_of_that_user_for_the_application(sandbox: SandboxProcess, kind: str) -> None:
    sandbox.apps("2000", client_secret="s")
    one, two = sandbox.tokens("anna"), sandbox.tokens("anna")
    elsewhere, stranger = sandbox.tokens("anna", client_id="2000"), sandbox.tokens("bo")
    assert revoke(sandbox, token=one[kind]).json() == {"status": "success"}
    for pair in (one, two):
        assert whoami(sandbox, pair["access_token"]).status_code == 401
        assert refresh(sandbox, pair["refresh_token"]).status_code == 400
    for pair in (elsewhere, stranger):
        assert whoami(sandbox, pair["access_token"]).status_code == 200


def test_revoking_one_session_spares_the_others(sandbox: SandboxProcess) -> None:
    one, two = sandbox.tokens("anna"), sandbox.tokens("anna")
    assert revoke(sandbox, token=one["refresh_token"], revoke_refresh_only="true").status_code == 200
    assert refresh(sandbox, one["refresh_token"]).status_code == 400
    assert refresh(sandbox, two["refresh_token"]).status_code == 200


def test_an_unknown_token_cannot_be_revoked(sandbox: SandboxProcess) -> None:
    assert refusal(revoke(sandbox, token="0" * 40)) == (400, "invalid_request", None)
    assert refusal(revoke(sandbox)) == (400, "invalid_request", None)


def test_the_user_can_take_everything_back(sandbox: SandboxProcess) -> None:
    anna, bo = sandbox.tokens("anna"), sandbox.tokens("bo")
    sandbox.revoke("anna")
    expired = whoami(sandbox, anna["access_token"])
    assert expired.json()["error_description"].startswith("Expired oAuth2 user token.")
    assert refresh(sandbox, anna["refresh_token"]).json()["error_description"] == INVALID_REFRESH
    assert whoami(sandbox, bo["access_token"]).status_code == 200


def test_secrets_do_not_stand_in_the_ledger(sandbox: SandboxProcess) -> None:
    code = a_code(sandbox)
    pair = exchange(sandbox, code).json()
    renewed = refresh(sandbox, pair["refresh_token"]).json()
    ledger = str(sandbox.ledger())
    for secret in (code, *(tokens[kind] for tokens in (pair, renewed) for kind in ("access_token", "refresh_token"))):
        assert secret not in ledger
    assert sandbox.client_secret not in ledger
