"""The doors for connecting accounts, and how the pages look."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import DeviantArtAccount, User
from accounts.services import connecting
from isekai.errors import IsekaiError
from tests.accounts.web.test_signing_in import CALLBACK, WORKS, cookie_of, exchanges, way_back
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

CONNECT = "/connect/"
State = DeviantArtAccount.State


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def test_a_signed_in_user_connects_several_accounts(signed_in, sandbox, user):
    for name in ("mira", "nightjar"):
        assert signed_in.get(way_back(signed_in, CONNECT, name)).headers["Location"] == WORKS
    page = signed_in.get(CONNECT)
    assert [account.username for account in page.context["accounts"]] == ["mira", "nightjar"]
    assert page.context["sandbox"] is True
    # Another user's page shows none of them.
    stranger = Client()
    stranger.force_login(UserFactory())
    assert list(stranger.get(CONNECT).context["accounts"]) == []


def test_who_did_not_allow_everything_is_told_so_and_sees_it(signed_in, sandbox, user):
    sandbox.profile(grant_scopes=["basic", "user", "browse", "stash"])
    signed_in.get(way_back(signed_in, CONNECT))
    page = signed_in.get(CONNECT)
    assert [message.level_tag for message in page.context["messages"]] == ["success", "warning"]
    # Also when it is looked at again.
    assert "Not everything was allowed: publish, gallery" in signed_in.get(CONNECT).content.decode()
    sandbox.profile(grant_scopes=None)
    signed_in.get(way_back(signed_in, CONNECT))
    assert "Not everything was allowed" not in signed_in.get(CONNECT).content.decode()


def test_the_page_offers_to_sign_out_everywhere(signed_in, user):
    DeviantArtAccountFactory(workspace=workspace_of(user))
    assert 'action="/sign-out/everywhere/"' in signed_in.get(CONNECT).content.decode()


def test_connecting_gives_the_session_a_new_id(signed_in, sandbox, settings):
    back = way_back(signed_in, CONNECT)
    before = cookie_of(signed_in, settings)
    signed_in.get(back)
    assert cookie_of(signed_in, settings) != before


@pytest.mark.parametrize("name", ["connect", "reconnect", "disconnect"])
def test_strangers_are_sent_to_the_door(client, db, name):
    path = reverse(f"accounts:{name}", args=[] if name == "connect" else [DeviantArtAccountFactory().pk])
    assert client.post(path).headers["Location"].startswith("/sign-in/?next=")


def test_what_begins_or_ends_a_connection_is_a_post_with_a_csrf_token(sandbox, user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    account = DeviantArtAccountFactory(workspace=workspace_of(user))
    for name in ("reconnect", "disconnect"):
        path = reverse(f"accounts:{name}", args=[account.pk])
        assert client.get(path).status_code == 405
        assert client.post(path).status_code == 403
    assert client.post(CONNECT).status_code == 403


def test_a_connect_that_somebody_else_ends_in_the_same_browser_is_refused(signed_in, sandbox, user):
    back = way_back(signed_in, CONNECT)
    session = signed_in.session
    flows = session["oauth_flows"]
    signed_in.force_login(UserFactory())
    session = signed_in.session
    session["oauth_flows"] = flows
    session.save()
    assert signed_in.get(back).headers["Location"] == CONNECT
    assert exchanges(sandbox) == 0
    assert not DeviantArtAccount.objects.exists()


def test_a_connect_cannot_be_ended_after_signing_out(signed_in, sandbox):
    back = way_back(signed_in, CONNECT)
    signed_in.post("/sign-out/")
    assert signed_in.get(back).status_code == 400
    assert exchanges(sandbox) == 0


def test_who_is_in_no_workspace_any_more_is_told_so(signed_in, sandbox, user):
    back = way_back(signed_in, CONNECT)
    user.memberships.all().delete()
    assert signed_in.get(back).headers["Location"] == CONNECT
    assert "not a member" in signed_in.get(CONNECT).context["error"]
    assert exchanges(sandbox) == 0


def test_a_foreign_link_is_refused_on_the_page_for_connecting(signed_in, sandbox):
    page = signed_in.get(CALLBACK, {"code": "x", "state": "y"})
    assert page.status_code == 400
    assert page.context["error"]


def test_a_reconnect_as_somebody_else_says_so(signed_in, sandbox, user):
    signed_in.get(way_back(signed_in, CONNECT, "mira"))
    account = DeviantArtAccount.objects.get()
    back = way_back(signed_in, reverse("accounts:reconnect", args=[account.pk]), "nightjar")
    assert signed_in.get(back).headers["Location"] == CONNECT
    assert "somebody else" in signed_in.get(CONNECT).context["error"]
    after = DeviantArtAccount.objects.get()
    assert (after.refresh_token, after.token_version) == (account.refresh_token, account.token_version)


def test_a_reconnect_renews_the_login(signed_in, sandbox, user):
    signed_in.get(way_back(signed_in, CONNECT, "mira"))
    account = DeviantArtAccount.objects.get()
    signed_in.get(way_back(signed_in, reverse("accounts:reconnect", args=[account.pk]), "mira"))
    account.refresh_from_db()
    assert account.token_version == 2


@pytest.mark.parametrize("name", ["reconnect", "disconnect"])
def test_an_account_of_another_workspace_is_not_found(signed_in, sandbox, name):
    account = DeviantArtAccountFactory()
    assert signed_in.post(reverse(f"accounts:{name}", args=[account.pk])).status_code == 404
    account.refresh_from_db()
    assert account.state == State.ACTIVE


def test_disconnecting_says_what_it_did(signed_in, sandbox, user):
    signed_in.get(way_back(signed_in, CONNECT, "mira"))
    account = DeviantArtAccount.objects.get()
    answer = signed_in.post(reverse("accounts:disconnect", args=[account.pk]), follow=True)
    assert [str(message) for message in answer.context["messages"]][-1] == (
        "mira is disconnected, and its login is erased."
    )
    account.refresh_from_db()
    assert account.state == State.DISCONNECTED
    assert list(answer.context["accounts"]) == []


def test_a_disconnect_that_is_refused_says_why(signed_in, sandbox, user, monkeypatch):
    class OnItsWay(IsekaiError):
        status = 409

    def refuse(*_args: Any) -> None:
        raise OnItsWay("A work of this account is on its way.")

    monkeypatch.setattr(connecting, "_BEFORE_DISCONNECT", [refuse])
    account = DeviantArtAccountFactory(workspace=workspace_of(user))
    page = signed_in.post(reverse("accounts:disconnect", args=[account.pk]))
    assert page.status_code == 409
    assert page.context["error"] == "A work of this account is on its way."


# --- how the pages look ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chosen", ["auto", "light", "dark"])
def test_a_theme_is_kept_with_the_user_and_in_a_cookie(signed_in, user, chosen):
    answer = signed_in.post("/theme/", {"theme": chosen, "next": "/works/?status=draft"})
    assert answer.headers["Location"] == "/works/?status=draft"
    assert answer.cookies["isekai_theme"].value == chosen
    user.refresh_from_db()
    assert user.theme == chosen


def test_a_theme_needs_no_user(client, db):
    answer = client.post("/theme/", {"theme": "dark"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (204, "true")
    assert answer.cookies["isekai_theme"].value == "dark"


@pytest.mark.parametrize("chosen", ["", "pink", "Dark", "dark; Path=/", "x" * 5000])
def test_an_unknown_theme_is_refused_with_what_is_wrong(signed_in, user, chosen):
    answer = signed_in.post("/theme/", {"theme": chosen})
    assert answer.status_code == 422
    assert answer.content
    assert "isekai_theme" not in answer.cookies
    user.refresh_from_db()
    assert user.theme == "auto"


def test_a_time_zone_is_kept_with_the_user(signed_in, user):
    assert signed_in.post("/time-zone/", {"time_zone": "Europe/Berlin"}).status_code == 302
    user.refresh_from_db()
    assert user.time_zone == "Europe/Berlin"


@pytest.mark.parametrize("zone", ["", "Berlin", "../../etc/passwd", "UTC+2", "x" * 5000])
def test_an_unknown_time_zone_is_refused_with_what_is_wrong(signed_in, user, zone):
    answer = signed_in.post("/time-zone/", {"time_zone": zone})
    assert answer.status_code == 422
    assert answer.content
    user.refresh_from_db()
    assert user.time_zone == "UTC"


def test_a_time_zone_needs_a_user(client, db):
    assert client.post("/time-zone/", {"time_zone": "Europe/Berlin"}).headers["Location"].startswith("/sign-in/")
