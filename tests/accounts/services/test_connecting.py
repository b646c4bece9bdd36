"""Signing in with DeviantArt, connecting accounts, and taking them away again, against a real sandbox."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from django.db import connection

from accounts import errors
from accounts.models import AuditEvent, DeviantArtAccount, Identity, Membership, Notification, User, Workspace
from accounts.services import connecting
from accounts.services.connecting import Flow, begin_flow, disconnect_account, finish_connect, finish_sign_in
from accounts.services.secrets import Place, Purpose, decrypt
from accounts.services.tokens import lose_login, usable_token
from deviantart import oauth
from isekai.errors import IsekaiError
from tests.factories import UserFactory, workspace_of

State = DeviantArtAccount.State


def allow(url: str, username: str) -> str:
    """What the artist does at DeviantArt: signs in as ``username`` and allows everything. The code that comes back."""
    answer = requests.get(f"{url}&username={username}", allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(connecting.redirect_uri())
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def sign_in_as(username: str) -> User:
    flow, url = begin_flow()
    return finish_sign_in(flow, code=allow(url, username))


def connect_as(username: str, user: User, account: DeviantArtAccount | None = None) -> DeviantArtAccount:
    flow, url = begin_flow(user=user, account=account)
    return finish_connect(flow, code=allow(url, username), user=user, workspace=workspace_of(user))


def requests_to(sandbox: Any, path: str) -> list[dict[str, Any]]:
    return [each for each in sandbox.ledger()["requests"] if each["path"] == path]


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


# --- signing in ------------------------------------------------------------------------------------------------------
def test_the_first_sign_in_makes_a_user_with_a_workspace_and_their_account(sandbox, db):
    user = sign_in_as("mira")
    assert user.username == "mira"
    assert not user.has_usable_password()
    assert not user.is_staff
    account = DeviantArtAccount.objects.get()
    assert (account.workspace, account.username, account.state) == (workspace_of(user), "mira", State.ACTIVE)
    assert account.base_url == sandbox.base_url
    assert account.avatar_url
    assert account.missing_scopes == []
    assert Identity.objects.get().remote_id == account.remote_user_id
    assert set(AuditEvent.objects.values_list("verb", flat=True)) == {"user.registered", "account.connected"}
    usable_token(account.pk)


def test_the_second_sign_in_finds_the_same_user(sandbox, db):
    assert sign_in_as("mira") == sign_in_as("mira")
    assert (User.objects.count(), Workspace.objects.count(), DeviantArtAccount.objects.count()) == (1, 1, 1)


def test_signing_in_heals_a_lost_login(sandbox, db):
    user = sign_in_as("mira")
    account = DeviantArtAccount.objects.get()
    lose_login(account.pk, token_version=account.token_version, reason="grant_dead")
    assert sign_in_as("mira") == user
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (State.ACTIVE, "")
    usable_token(account.pk)


def test_signing_in_does_not_connect_again_what_was_disconnected(sandbox, db):
    user = sign_in_as("mira")
    disconnect_account(DeviantArtAccount.objects.get(), user=user)
    assert sign_in_as("mira") == user
    assert DeviantArtAccount.objects.get().state == State.DISCONNECTED
    # The grant of that sign-in is not left lying about.
    assert len(requests_to(sandbox, "/oauth2/revoke")) == 2


def test_two_first_sign_ins_at_the_same_moment_make_one_user(transactional_db, sandbox):
    begun = [begin_flow() for _ in range(4)]
    codes = [allow(url, "mira") for _flow, url in begun]
    together = threading.Barrier(4)
    users: list[User] = []

    def finish(flow: Flow, code: str) -> None:
        together.wait(20)
        users.append(finish_sign_in(flow, code=code))
        connection.close()

    threads = [
        threading.Thread(target=finish, args=(flow, code)) for (flow, _url), code in zip(begun, codes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(users) == 4
    assert len(set(users)) == User.objects.count() == DeviantArtAccount.objects.count() == 1
    usable_token(DeviantArtAccount.objects.get().pk)


def test_somebody_new_is_refused_where_registration_is_closed(sandbox, db, settings):
    known = sign_in_as("mira")
    settings.ISEKAI_OPEN_REGISTRATION = False
    with pytest.raises(errors.RegistrationClosed):
        sign_in_as("nightjar")
    assert (User.objects.count(), DeviantArtAccount.objects.count()) == (1, 1)
    assert len(requests_to(sandbox, "/oauth2/revoke")) == 1
    assert sign_in_as("mira") == known


def test_the_first_to_sign_in_is_no_operator(sandbox, db):
    assert not User.objects.filter(is_staff=True).exists()
    sign_in_as("mira")
    assert not User.objects.filter(is_staff=True).exists()
    assert not User.objects.filter(is_superuser=True).exists()


def test_twenty_first_logins_at_the_same_moment_make_no_operator(transactional_db, sandbox):
    begun = [begin_flow() for _ in range(20)]
    codes = [allow(url, f"artist{number}") for number, (_flow, url) in enumerate(begun)]
    assert not User.objects.exists()
    together = threading.Barrier(20)

    def finish(flow: Flow, code: str) -> None:
        together.wait(60)
        finish_sign_in(flow, code=code)
        connection.close()

    threads = [
        threading.Thread(target=finish, args=(flow, code)) for (flow, _url), code in zip(begun, codes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert User.objects.count() == 20
    assert not User.objects.filter(is_staff=True).exists()
    assert not User.objects.filter(is_superuser=True).exists()


def test_who_was_suspended_cannot_sign_in(sandbox, db):
    user = sign_in_as("mira")
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(errors.UserInactive):
        sign_in_as("mira")


def test_a_name_that_somebody_here_has_gets_a_number(sandbox, db):
    UserFactory(username="mira")
    UserFactory(username="mira-2")
    assert sign_in_as("mira").username == "mira-3"


def test_an_account_that_somebody_manages_signs_nobody_in_as_that_person(sandbox, user):
    connect_as("mira", user)
    with pytest.raises(errors.AccountElsewhere):
        sign_in_as("mira")
    assert User.objects.count() == 1
    usable_token(DeviantArtAccount.objects.get().pk)


# --- connecting ------------------------------------------------------------------------------------------------------
def test_a_workspace_connects_several_accounts(sandbox, user):
    for name in ("mira", "nightjar", "atelier"):
        connect_as(name, user)
    accounts = DeviantArtAccount.objects.owned_by(user)
    assert sorted(account.username for account in accounts) == ["atelier", "mira", "nightjar"]
    assert not Identity.objects.exists()
    # Each only sees its own.
    assert not DeviantArtAccount.objects.owned_by(UserFactory()).exists()


def test_tokens_are_stored_only_encrypted_and_bound_to_their_row(sandbox, user):
    one, other = connect_as("mira", user), connect_as("nightjar", user)
    for account in (one, other):
        for column in ("access_token", "refresh_token"):
            assert getattr(account, column).startswith(f"v1:{account.encryption_key_id}:")
            assert len(decrypt(getattr(account, column), Place.of(account, column), Purpose.TOKEN)) in {40, 50}
    with pytest.raises(errors.SecretUnreadable):
        decrypt(one.access_token, Place.of(other, "access_token"), Purpose.TOKEN)


def test_connecting_again_renews_the_login_of_the_same_row(sandbox, user):
    first = connect_as("mira", user)
    lose_login(first.pk, token_version=first.token_version, reason="grant_dead")
    again = connect_as("mira", user, account=first)
    assert again.pk == first.pk
    assert (again.state, again.token_version) == (State.ACTIVE, first.token_version + 1)
    usable_token(again.pk)
    assert AuditEvent.objects.filter(verb="account.reconnected").count() == 1


def test_an_account_of_a_second_workspace_is_connected_again_where_it_is(sandbox, user):
    owner = UserFactory()
    account = connect_as("mira", owner)
    Membership.objects.create(user=user, workspace=workspace_of(owner))
    flow, url = begin_flow(user=user, account=account)
    own = user.memberships.order_by("created_at")[0].workspace
    again = finish_connect(flow, code=allow(url, "mira"), user=user, workspace=own)
    assert (again.pk, again.workspace) == (account.pk, workspace_of(owner))


def test_connecting_what_was_disconnected_takes_its_old_row(sandbox, user):
    first = connect_as("mira", user)
    disconnect_account(first, user=user)
    assert connect_as("mira", user).pk == first.pk


def test_a_reconnect_as_somebody_else_is_refused_and_changes_nothing(sandbox, user):
    account = connect_as("mira", user)
    before = DeviantArtAccount.objects.filter(pk=account.pk).values().get()
    with pytest.raises(errors.DifferentAccount):
        connect_as("nightjar", user, account=account)
    assert DeviantArtAccount.objects.values().get() == before
    usable_token(account.pk)
    # What the other one granted was given back at once.
    assert [each["username"] for each in requests_to(sandbox, "/oauth2/revoke")] == ["nightjar"]


def test_a_reconnect_of_a_strangers_account_is_refused(sandbox, user):
    account = connect_as("mira", user)
    stranger = UserFactory()
    with pytest.raises(errors.DifferentAccount):
        connect_as("mira", stranger, account=account)
    usable_token(account.pk)


def test_an_account_that_is_connected_elsewhere_is_refused_and_stays_there(sandbox, user):
    account = connect_as("mira", user)
    version = account.token_version
    with pytest.raises(errors.AccountElsewhere):
        connect_as("mira", UserFactory())
    account.refresh_from_db()
    assert (account.workspace, account.token_version) == (workspace_of(user), version)
    usable_token(account.pk)


def test_an_account_that_is_connected_at_another_server_is_refused(sandbox, user):
    account = connect_as("mira", user)
    DeviantArtAccount.objects.filter(pk=account.pk).update(base_url="https://www.deviantart.com")
    with pytest.raises(errors.AccountForeign):
        connect_as("mira", user)


def test_fewer_scopes_are_stored_and_shown(sandbox, user):
    sandbox.profile(grant_scopes=["basic", "user", "browse"])
    account = connect_as("mira", user)
    assert account.scopes == ["basic", "user", "browse"]
    assert account.missing_scopes == ["stash", "publish", "gallery"]


def test_a_login_that_may_not_even_say_whose_it_is_is_refused(sandbox, user):
    sandbox.profile(grant_scopes=["basic"])
    with pytest.raises(errors.ScopesRefused):
        connect_as("mira", user)
    assert not DeviantArtAccount.objects.exists()
    assert len(requests_to(sandbox, "/oauth2/revoke")) == 1


def test_exactly_the_scopes_that_are_used_are_asked_for(sandbox):
    _flow, url = begin_flow()
    asked = parse_qs(urlsplit(url).query)
    assert asked["scope"] == ["basic user browse stash publish gallery"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == ["http://localhost:4000/oauth/deviantart/callback/"]


# --- what is refused at the token endpoint ---------------------------------------------------------------------------
def test_a_code_without_the_verifier_that_belongs_to_it_is_good_for_nothing(sandbox, user):
    _flow, url = begin_flow(user=user)
    other, _url = begin_flow(user=user)
    code = allow(url, "mira")
    with pytest.raises(errors.ConnectError):
        finish_connect(other, code=code, user=user, workspace=workspace_of(user))
    assert not DeviantArtAccount.objects.exists()


def test_a_code_is_good_once(sandbox, user):
    flow, url = begin_flow(user=user)
    code = allow(url, "mira")
    account = finish_connect(flow, code=code, user=user, workspace=workspace_of(user))
    with pytest.raises(errors.ConnectError):
        finish_connect(flow, code=code, user=user, workspace=workspace_of(user))
    usable_token(account.pk)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"do": "reset_before"}, errors.ConnectUnavailable),
        ({"do": "html", "status": 403}, errors.ConnectUnavailable),
        ({"do": "status", "status": 500}, errors.ConnectUnavailable),
        ({"do": "status", "status": 401, "body": {"error": "invalid_client"}}, errors.ClientNotAccepted),
    ],
)
def test_a_failing_deviantart_is_said_in_our_words(sandbox, user, fault, expected):
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
    with pytest.raises(expected):
        connect_as("mira", user)
    assert not DeviantArtAccount.objects.exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("access_denied", errors.ConnectDenied),
        ("temporarily_unavailable", errors.ConnectUnavailable),
        ("server_error", errors.ConnectUnavailable),
        ("unauthorized_client", errors.ClientNotAccepted),
        ("invalid_request", errors.ConnectError),
        ("<script>alert(1)</script>", errors.ConnectError),
        ("x" * 10_000, errors.ConnectError),
        ("", errors.ConnectError),
    ],
)
def test_an_error_of_the_authorize_page_is_said_in_our_words(error, expected):
    refusal = connecting.denial(error)
    assert type(refusal) is expected
    assert not error or error not in str(refusal)


# --- flows -----------------------------------------------------------------------------------------------------------
def kept(*flows: Flow) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for flow in flows:
        entries = connecting.keep_flow(entries, flow)
    return entries


def test_a_state_and_a_verifier_cannot_be_guessed():
    flows = [begin_flow()[0] for _ in range(1000)]
    assert len({flow.state for flow in flows}) == len({flow.verifier for flow in flows}) == 1000
    assert all(len(flow.state) >= 22 for flow in flows)  # 128 bits in base64
    assert flows[0].state not in repr(flows[0])
    assert flows[0].verifier not in repr(flows[0])


def test_each_tab_ends_its_own_flow_once():
    one, other = begin_flow(next="/a")[0], begin_flow(next="/b")[0]
    found, rest = connecting.take_flow(kept(one, other), one.state)
    assert found == one
    with pytest.raises(errors.FlowUnknown):
        connecting.take_flow(rest, one.state)
    assert connecting.take_flow(rest, other.state) == (other, [])


@pytest.mark.parametrize("state", ["", "x", "ö", "x" * 10_000])
def test_a_foreign_state_is_refused(state):
    with pytest.raises(errors.FlowUnknown):
        connecting.take_flow(kept(begin_flow()[0]), state)
    with pytest.raises(errors.FlowUnknown):
        connecting.take_flow([], state)


def test_a_flow_is_good_for_ten_minutes():
    with time_machine.travel("2030-01-01T12:00:00Z", tick=False) as time:
        flow = begin_flow()[0]
        time.shift(timedelta(seconds=599))
        assert connecting.take_flow(kept(flow), flow.state)[0] == flow
        time.shift(timedelta(seconds=2))
        with pytest.raises(errors.FlowUnknown):
            connecting.take_flow(kept(flow), flow.state)


def test_a_session_keeps_only_the_latest_flows():
    flows = [begin_flow()[0] for _ in range(9)]
    assert [entry["state"] for entry in kept(*flows)] == [flow.state for flow in flows[-5:]]


# --- disconnecting ---------------------------------------------------------------------------------------------------
def test_disconnecting_erases_the_tokens_and_takes_the_authorisation_back(sandbox, user):
    account = connect_as("mira", user)
    token = usable_token(account.pk).value
    assert disconnect_account(account, user=user)
    account.refresh_from_db()
    assert (account.state, account.access_token, account.refresh_token) == (State.DISCONNECTED, "", "")
    assert account.encryption_key_id is None
    assert [each["committed"] for each in requests_to(sandbox, "/oauth2/revoke")] == [True]
    answer = requests.get(
        f"{sandbox.base_url}/api/v1/oauth2/placebo",
        headers={"Authorization": f"Bearer {token}", "User-Agent": "test", "Accept-Encoding": "gzip"},
        timeout=10,
    )
    assert answer.status_code == 401
    assert AuditEvent.objects.filter(verb="account.disconnected", user=user).count() == 1
    # Who did it themselves need not be told.
    assert not Notification.objects.exists()
    # Once more is nothing.
    assert disconnect_account(account, user=user)
    assert len(requests_to(sandbox, "/oauth2/revoke")) == 1


def test_an_unreachable_deviantart_does_not_keep_the_tokens_here(sandbox, user):
    account = connect_as("mira", user)
    sandbox.faults([{"match": {"path": "/oauth2/revoke"}, "do": "reset_before"}])
    assert not disconnect_account(account, user=user)
    account.refresh_from_db()
    assert (account.state, account.refresh_token) == (State.DISCONNECTED, "")


def test_a_lost_key_does_not_keep_anybody_from_disconnecting(sandbox, user, settings):
    account = connect_as("mira", user)
    settings.ENCRYPTION_KEYS = [bytes(range(32))]
    assert not disconnect_account(account, user=user)
    account.refresh_from_db()
    assert account.state == State.DISCONNECTED


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    steps: list[Any] = []
    monkeypatch.setattr(connecting, "_BEFORE_DISCONNECT", steps)
    return steps.append


def test_an_app_above_may_refuse_a_disconnect(sandbox, user, registered):
    class OnItsWay(IsekaiError):
        status = 409

    def refuse(_account: DeviantArtAccount, _user: User) -> None:
        raise OnItsWay("A work is on its way.")

    registered(refuse)
    account = connect_as("mira", user)
    with pytest.raises(OnItsWay):
        disconnect_account(account, user=user)
    account.refresh_from_db()
    assert account.state == State.ACTIVE
    assert requests_to(sandbox, "/oauth2/revoke") == []


def test_no_transaction_is_open_while_deviantart_is_asked(transactional_db, sandbox, monkeypatch):
    open_at_calls = []

    def note(name: str) -> None:
        ask = getattr(oauth, name)

        def noting(*args: Any, **options: Any) -> Any:
            open_at_calls.append(connection.in_atomic_block)
            return ask(*args, **options)

        monkeypatch.setattr(oauth, name, noting)

    note("exchange_code")
    note("revoke")
    user = sign_in_as("mira")
    disconnect_account(DeviantArtAccount.objects.get(), user=user)
    sign_in_as("mira")
    assert open_at_calls == [False] * 4
