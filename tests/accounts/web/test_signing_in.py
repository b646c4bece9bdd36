"""The doors for signing in and out, by DeviantArt and by password."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from axes.models import AccessAttempt, AccessFailureLog
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from accounts.web.redirects import safe_next
from tests.factories import UserFactory

SIGN_IN, START, CALLBACK = "/sign-in/", "/sign-in/deviantart/", "/oauth/deviantart/callback/"
EVERYWHERE = "/sign-out/everywhere/"
WORKS = "/works/"
PASSWORD = "a long password of an operator"


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator", PASSWORD)


def way_back(client: Client, start: str = START, username: str = "mira", **data: str) -> str:
    """Begin at ``start``, allow everything at DeviantArt as ``username``, and return where it sends the browser."""
    begun = client.post(start, data)
    assert begun.status_code == 302, begun.content
    answer = requests.get(f"{begun.headers['Location']}&username={username}", allow_redirects=False, timeout=10)
    return answer.headers["Location"].removeprefix("http://localhost:4000")


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def exchanges(sandbox: Any) -> int:
    return sum(each["path"] == "/oauth2/token" for each in sandbox.ledger()["requests"])


def cookie_of(client: Client, settings: Any) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


# --- with DeviantArt -------------------------------------------------------------------------------------------------
def test_signing_in_with_deviantart_leads_to_the_works(client, sandbox, db):
    back = client.get(way_back(client))
    assert (back.status_code, back.headers["Location"]) == (302, WORKS)
    assert is_signed_in(client)
    assert User.objects.get().username == "mira"


def test_signing_in_leads_to_where_one_wanted_to_go(client, sandbox, db):
    assert client.get(way_back(client, next="/works/?status=draft")).headers["Location"] == "/works/?status=draft"
    other = Client()
    assert other.get(way_back(other, next="https://evil.example/")).headers["Location"] == WORKS


def test_beginning_a_login_is_a_post_with_a_csrf_token(sandbox, db):
    client = Client(enforce_csrf_checks=True)
    assert client.get(START).status_code == 405
    assert client.post(START).status_code == 403
    assert sandbox.ledger()["requests"] == []


def test_a_new_session_begins_at_sign_in_and_the_old_one_is_dead(client, sandbox, db, settings):
    back = way_back(client)
    before = cookie_of(client, settings)
    client.get(back)
    after = cookie_of(client, settings)
    assert before != after
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = before
    assert not is_signed_in(thief)
    assert not Session.objects.filter(session_key=before).exists()


@pytest.mark.parametrize("state", ["", "foreign", "x" * 5000])
def test_a_foreign_state_never_reaches_the_token_endpoint(client, sandbox, db, state):
    back = way_back(client)
    code = parse_qs(urlsplit(back).query)["code"][0]
    session = dict(client.session)
    refused = client.get(CALLBACK, {"code": code, "state": state} if state else {"code": code})
    assert refused.status_code == 400
    assert "not begun in this browser" in str(refused.context["error"])
    assert exchanges(sandbox) == 0
    assert dict(client.session) == session
    assert not is_signed_in(client)
    # The owner of this browser can still go on.
    assert client.get(back).status_code == 302
    assert is_signed_in(client)


def test_a_state_is_good_once(client, sandbox, db):
    back = way_back(client)
    client.get(back)
    client.post("/sign-out/")
    assert client.get(back).status_code == 400
    assert exchanges(sandbox) == 1
    assert not is_signed_in(client)


def test_two_browsers_cannot_end_each_others_login(sandbox, db):
    one, other = Client(), Client()
    back_of_one, back_of_other = way_back(one, username="mira"), way_back(other, username="nightjar")
    assert one.get(back_of_other).status_code == 400
    assert other.get(back_of_one).status_code == 400
    assert exchanges(sandbox) == 0
    assert not is_signed_in(one)
    assert not is_signed_in(other)
    assert not User.objects.exists()


@pytest.mark.parametrize("error", ["access_denied", "<script>alert(1)</script>", "x" * 10_000, "invalid_request"])
def test_what_deviantart_says_is_never_echoed(client, sandbox, db, error):
    state = parse_qs(urlsplit(client.post(START).headers["Location"]).query)["state"][0]
    words = "<b>The resource owner denied the request</b>" + "y" * 10_000
    back = client.get(CALLBACK, {"state": state, "error": error, "error_description": words})
    assert (back.status_code, back.headers["Location"]) == (302, SIGN_IN)
    page = client.get(SIGN_IN)
    assert page.context["error"]
    for text in (error, "resource owner", "yyyy"):
        assert text not in page.content.decode()
    # Said once.
    assert not client.get(SIGN_IN).context["error"]
    assert not is_signed_in(client)


def test_the_callback_is_kept_nowhere_and_tells_nobody(client, sandbox, db):
    good = way_back(client)
    for answer in (client.get(good), client.get(good), client.get(CALLBACK)):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_code_is_in_no_address_that_the_browser_goes_to_next(client, sandbox, db):
    back = way_back(client)
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert code not in client.get(back).headers["Location"]


def test_who_is_not_let_in_is_told_so(client, sandbox, db, settings):
    settings.ISEKAI_OPEN_REGISTRATION = False
    assert client.get(way_back(client)).headers["Location"] == SIGN_IN
    assert "does not take new people" in str(client.get(SIGN_IN).context["error"])
    assert not User.objects.exists()


def test_signing_in_as_somebody_else_ends_the_session_of_the_first(client, sandbox, operator, settings):
    client.force_login(operator)
    client.session["secret"] = "of the operator"
    client.get(way_back(client))
    assert client.session["_auth_user_id"] != str(operator.pk)
    assert "secret" not in client.session


# --- by password -----------------------------------------------------------------------------------------------------
def test_an_operator_signs_in_by_password(client, operator, settings):
    client.get(SIGN_IN)
    answer = client.post(SIGN_IN, {"username": "operator", "password": PASSWORD, "next": "/works/?status=draft"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/works/?status=draft")
    assert is_signed_in(client)
    assert client.get(SIGN_IN).headers["Location"] == WORKS


def test_the_page_says_where_it_leads_and_that_deviantart_is_a_stand_in(client, sandbox, db, settings):
    page = client.get(SIGN_IN, {"next": "/works/?status=draft"})
    assert (page.context["next"], page.context["sandbox"]) == ("/works/?status=draft", True)
    settings.DEVIANTART_BASE_URL = settings.DEVIANTART_OFFICIAL_URL
    page = client.get(SIGN_IN, {"next": "//evil.example"})
    assert (page.context["next"], page.context["sandbox"]) == ("", False)
    assert "no-store" in page.headers["Cache-Control"]


@pytest.mark.parametrize("who", ["operator", "nobody", "suspended"])
def test_every_wrong_password_reads_the_same(client, operator, who):
    User.objects.create_user("suspended", PASSWORD, is_active=False)
    password = PASSWORD if who == "suspended" else "wrong"
    page = client.post(SIGN_IN, {"username": who, "password": password})
    assert page.status_code == 200
    assert [str(text) for text in page.context["form"].non_field_errors()] == [
        "This name and this password do not belong together. Both care about capital letters."
    ]
    assert not is_signed_in(client)


def test_too_many_tries_are_locked_out_and_told_so(client, operator, settings):
    settings.AXES_FAILURE_LIMIT = 3
    for _time in range(3):
        page = client.post(SIGN_IN, {"username": "operator", "password": "wrong"})
    assert page.status_code == 429
    page = client.post(SIGN_IN, {"username": "operator", "password": PASSWORD})
    assert page.status_code == 429
    assert "Too many tries" in str(page.context["error"])
    assert not is_signed_in(client)
    # Somebody else, elsewhere, cannot lock the owner out.
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert elsewhere.post(SIGN_IN, {"username": "operator", "password": PASSWORD}).status_code == 302


def test_no_password_is_kept_of_a_try(client, operator):
    client.post(SIGN_IN, {"username": "operator", "password": "wrong but secret"})
    rows = [*AccessAttempt.objects.values(), *AccessFailureLog.objects.values()]
    assert rows
    assert "wrong but secret" not in str(rows)


def test_somebody_without_a_password_cannot_sign_in_with_an_empty_one(client, db):
    user = UserFactory()
    client.post(SIGN_IN, {"username": user.username, "password": ""})
    client.post(SIGN_IN, {"username": user.username, "password": "!"})
    assert not is_signed_in(client)


# --- signing out -----------------------------------------------------------------------------------------------------
def test_signing_out_ends_the_session_on_the_server(client, sandbox, db, settings):
    client.get(way_back(client))
    old = cookie_of(client, settings)
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/").headers["Location"] == SIGN_IN
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = old
    assert not is_signed_in(thief)
    assert not Session.objects.filter(session_key=old).exists()


def test_signing_out_everywhere_ends_every_session_of_that_person_and_no_other(client, sandbox, db, settings):
    browsers = [client, Client(), Client()]
    for browser in browsers:
        browser.get(way_back(browser))
    other = Client()
    other.get(way_back(other, username="nightjar"))
    old = [cookie_of(browser, settings) for browser in browsers]
    assert client.get(EVERYWHERE).status_code == 405
    assert client.post(EVERYWHERE).headers["Location"] == SIGN_IN
    for cookie in old:
        thief = Client()
        thief.cookies[settings.SESSION_COOKIE_NAME] = cookie
        assert thief.get("/api/me/").status_code in {401, 403}
        assert thief.get(WORKS).headers["Location"].startswith(SIGN_IN)
    assert other.get("/api/me/").status_code == 200
    event = AuditEvent.objects.get(verb="user.signed_out_everywhere")
    assert event.user == User.objects.get(username="mira")
    # Signing in again is as usual.
    client.get(way_back(client))
    assert client.get("/api/me/").status_code == 200


def test_signing_out_everywhere_needs_a_csrf_token_and_a_session(sandbox, db):
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory())
    assert client.post(EVERYWHERE).status_code == 403
    assert client.get("/api/me/").status_code == 200
    assert Client().post(EVERYWHERE).headers["Location"].startswith(SIGN_IN)


def test_a_new_password_ends_the_sessions_of_the_old_one(client, operator):
    client.force_login(operator)
    operator.set_password("another long password of an operator")
    operator.save()
    assert client.get("/api/me/").status_code in {401, 403}


def test_a_session_outlives_an_emptied_redis(client, sandbox, db):
    client.get(way_back(client))
    caches["sessions"].clear()
    assert client.get(SIGN_IN).headers["Location"] == WORKS


def test_who_is_suspended_is_out_at_once(client, sandbox, db):
    client.get(way_back(client))
    User.objects.update(is_active=False)
    assert client.get(reverse("accounts:connect")).headers["Location"].startswith(SIGN_IN)


# --- where to go next ------------------------------------------------------------------------------------------------
SAFE = [
    "/",
    "/works/",
    "/works/?status=draft&page=2",
    "/works/01900000-0000-7000-8000-000000000001/#timeline",
    "/works/?next=https://example.com/",
    "/a//b",
    "/@user",
    "/%41",
]
UNSAFE = [
    "",
    "works/",
    "evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "HTTPS://evil.example",
    "http:evil.example",
    "ftp://evil.example/",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "%2f%2fevil.example",
    "/%2f/evil.example",
    "/%2Fevil.example",
    "/%5cevil.example",
    "/%5C%5Cevil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\nSet-Cookie: a=b",
    "\t//evil.example",
    " //evil.example",
    " /works/",
    "/works/ ",
    "//user@evil.example",
    "https://localhost:4000@evil.example/",
    "http://localhost:4000/works/",
    "//localhost:4000/works/",
    "/\u2215evil.example",
    "/\uff0fevil.example",
    "//xn--evl-kna.example",
    "//evíl.example",
    "/\x00/evil.example",
    "/\u200b/evil.example",
    "http://[::1/",
    "/" + "a" * 2000,
    ".",
    "?next=/works/",
    "#works",
]


@pytest.mark.parametrize("wanted", SAFE)
def test_a_path_of_this_site_is_gone_to(wanted):
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize("wanted", UNSAFE)
def test_nothing_else_is_gone_to(client, operator, wanted):
    assert safe_next(wanted) == ""
    client.force_login(operator)
    assert client.get(SIGN_IN, {"next": wanted}).headers["Location"] == WORKS
