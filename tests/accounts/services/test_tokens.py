"""Access tokens: renewed by one process at a time, given up only for a definite answer, against a real sandbox."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection

from accounts.errors import ForeignServer, LoginLost, SecretUnreadable, TokenUnavailable
from accounts.models import AuditEvent, DeviantArtAccount, Notification
from accounts.services import tokens
from accounts.services.clients import client_for
from accounts.services.secrets import Place, Purpose, decrypt
from accounts.services.tokens import lose_login, usable_token
from deviantart import oauth
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from tests.accounts.processes import environment_of_this_test
from tests.deviantart.wire import WireServer, answering, ends_soon, read_request, reply
from tests.factories import DueDeviationFactory

State = DeviantArtAccount.State


def change(account: DeviantArtAccount, **columns: Any) -> None:
    DeviantArtAccount.objects.filter(pk=account.pk).update(**columns)
    account.refresh_from_db()


def let_expire(account: DeviantArtAccount, *, lives_seconds: float = -1) -> None:
    change(account, access_expires_at=clock.now() + timedelta(seconds=lives_seconds))


def let_rest(account: DeviantArtAccount) -> None:
    """Let the wait after a failed refresh pass."""
    change(account, refresh_retry_at=clock.now() - timedelta(seconds=1))


def refreshes(sandbox: Any) -> list[dict[str, Any]]:
    return [each for each in sandbox.ledger()["requests"] if each["grant_type"] == "refresh_token"]


def stored(account: DeviantArtAccount, column: str) -> str:
    account.refresh_from_db()
    return decrypt(getattr(account, column), Place.of(account, column), Purpose.TOKEN)


# --- handing out -----------------------------------------------------------------------------------------------------
def test_a_living_token_is_handed_out_without_asking_deviantart(sandbox, account):
    token = usable_token(account.pk)
    assert (token.value, token.version) == (stored(account, "access_token"), 1)
    assert refreshes(sandbox) == []
    client_for(account, token).placebo()


def test_an_expired_token_is_renewed_and_the_new_pair_is_written_before_it_is_used(sandbox, account):
    old = stored(account, "access_token"), stored(account, "refresh_token")
    let_expire(account)
    token = usable_token(account.pk)
    assert token.version == 2
    assert token.value == stored(account, "access_token") != old[0]
    assert stored(account, "refresh_token") != old[1]
    assert account.access_expires_at > clock.now() + timedelta(seconds=3500)
    assert account.refresh_lease_id is None
    assert account.state == State.ACTIVE
    assert len(refreshes(sandbox)) == 1
    client_for(account, token).placebo()


@pytest.mark.parametrize(("lives", "asked", "renewed"), [(200, None, 1), (400, None, 0), (400, 600, 1), (30, 0, 0)])
def test_a_token_is_renewed_when_it_lives_shorter_than_what_it_is_for(sandbox, account, lives, asked, renewed):
    let_expire(account, lives_seconds=lives)
    assert usable_token(account.pk, must_live_seconds=asked).version == 1 + renewed
    assert len(refreshes(sandbox)) == renewed


def test_a_401_for_the_current_version_renews_it_once(sandbox, account):
    assert usable_token(account.pk, rejected_version=1).version == 2
    # Whoever else had the same old token comes late, and gets what is there.
    assert usable_token(account.pk, rejected_version=1).version == 2
    assert len(refreshes(sandbox)) == 1


def test_an_account_of_another_server_gets_no_token(sandbox, account, settings):
    settings.DEVIANTART_BASE_URL = "http://127.0.0.1:9"
    let_expire(account)
    with pytest.raises(ForeignServer):
        usable_token(account.pk)
    with pytest.raises(ForeignServer):
        client_for(account, tokens.Token("x", 1))
    assert refreshes(sandbox) == []


def test_tokens_that_were_swapped_between_accounts_are_refused(connect):
    one, other = connect("mira"), connect("nightjar")
    change(one, access_token=other.access_token)
    with pytest.raises(SecretUnreadable):
        usable_token(one.pk)


def test_plain_text_in_the_database_is_refused_and_never_sent(sandbox, account):
    table = account._meta.db_table
    with connection.cursor() as cursor:
        # With it the table would not take the first of them.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT deviantart_account_tokens_are_under_its_key")
    for plain in (stored(account, "access_token"), f"v1:{account.encryption_key_id}:plain"):
        change(account, access_token=plain, refresh_token=plain)
        with pytest.raises(SecretUnreadable) as refused:
            usable_token(account.pk)
        assert plain not in f"{refused.value} {refused.value!r}"
        let_expire(account)
        with pytest.raises(SecretUnreadable):
            usable_token(account.pk)
        change(
            account, refresh_lease_id=None, refresh_lease_until=None, access_expires_at=clock.now() + timedelta(hours=1)
        )
    assert refreshes(sandbox) == []


def test_another_secret_key_of_django_leaves_every_token_readable(sandbox, account, settings):
    settings.SECRET_KEY = "x" * 64
    client_for(account, usable_token(account.pk)).placebo()
    assert usable_token(account.pk, rejected_version=1).version == 2


def test_a_token_is_not_in_its_repr(account):
    token = usable_token(account.pk)
    assert token.value not in repr(token)
    assert token.value not in repr(client_for(account, token))


# --- answers ---------------------------------------------------------------------------------------------------------
def answer(status: int, body: Any = None, **more: Any) -> dict[str, Any]:
    return {"do": "status", "status": status, **({} if body is None else {"body": body}), **more}


def refusal(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description, "status": "error"}


DEFINITE = {
    "invalid_request": answer(400, refusal("invalid_request", "The refresh_token is invalid.")),
    "invalid_grant": answer(400, refusal("invalid_grant", "The grant has been revoked.")),
}
INDEFINITE = {
    "500": answer(500, refusal("server_error", "Internal Server Error.")),
    "502 page": {"do": "html", "status": 502},
    "503 blank": {"do": "blank", "status": 503},
    "block page": {"do": "html", "status": 403},
    "429": answer(429, refusal("user_api_threshold", "User request limit reached.")),
    "401 client": answer(401, refusal("invalid_client", "Client authentication failed.")),
    "400 other": answer(400, refusal("invalid_request", "Request field validation failed.")),
    "400 page": {"do": "html", "status": 400},
    "200 blank": {"do": "blank"},
    "200 other": answer(200, {"status": "success"}),
    "half an answer": {"do": "truncate"},
    "reset": {"do": "reset_before"},
    "no answer": {"do": "stall", "seconds": 60},
}


@pytest.mark.parametrize("fault", DEFINITE.values(), ids=DEFINITE)
def test_a_definite_answer_ends_the_login_and_tells_the_owner_once(sandbox, account, fault):
    work = DueDeviationFactory(workspace=account.workspace, account=account, files=0)
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
    let_expire(account)
    for _time in range(3):
        with pytest.raises(LoginLost):
            usable_token(account.pk)
    assert len(refreshes(sandbox)) == 1
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (State.REAUTH_REQUIRED, "grant_dead")
    assert AuditEvent.objects.filter(verb="account.login_lost", subject_id=account.pk).count() == 1
    notification = Notification.objects.get()
    assert (notification.kind, notification.workspace) == ("login_lost", account.workspace)
    # Its works keep their times and wait.
    after = Deviation.objects.get(pk=work.pk)
    assert (after.status, after.publish_at, after.next_attempt_at) == (work.status, work.publish_at, None)
    assert after.version == work.version


@pytest.mark.parametrize("fault", INDEFINITE.values(), ids=INDEFINITE)
def test_no_other_answer_ends_a_login(sandbox, account, fault):
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
    let_expire(account)
    with pytest.raises(TokenUnavailable) as refused:
        usable_token(account.pk)
    assert refused.value.retry_after_seconds > 0
    account.refresh_from_db()
    assert (account.state, account.token_version, account.refresh_lease_id) == (State.ACTIVE, 1, None)
    assert not Notification.objects.filter(kind="login_lost").exists()
    # The next question comes later, not at once.
    with pytest.raises(TokenUnavailable):
        usable_token(account.pk)
    assert len(refreshes(sandbox)) == 1
    let_rest(account)
    assert usable_token(account.pk).version == 2


def test_a_retry_after_is_obeyed_and_each_failure_waits_longer(sandbox, account):
    slow_down = answer(429, refusal("user_api_threshold", "Slow down."), headers={"Retry-After": "900"})
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **slow_down}])
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **INDEFINITE["500"], "times": 2}])
    let_expire(account)
    waits = []
    for _time in range(3):
        with pytest.raises(TokenUnavailable) as refused:
            usable_token(account.pk)
        waits.append(refused.value.retry_after_seconds / django_settings.ISEKAI_TIME_SCALE)
        let_rest(account)
    assert 890 < waits[0] <= 900
    assert 9 < waits[1] <= 10
    assert 19 < waits[2] <= 20
    assert usable_token(account.pk).version == 2
    assert account.refresh_failures == 2 + 1
    account.refresh_from_db()
    assert account.refresh_failures == 0


def test_wrong_credentials_of_the_installation_are_the_operators_matter_alone(sandbox, connect):
    accounts = [connect("mira"), connect("nightjar")]
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **INDEFINITE["401 client"], "times": None}])
    for account in accounts:
        let_expire(account)
        with pytest.raises(TokenUnavailable):
            usable_token(account.pk)
        account.refresh_from_db()
        assert account.state == State.ACTIVE
    notification = Notification.objects.get()
    assert (notification.kind, notification.workspace, notification.user) == ("client_refused", None, None)


def test_a_token_that_still_lives_is_used_while_it_cannot_be_renewed(sandbox, account):
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **INDEFINITE["500"], "times": None}])
    let_expire(account, lives_seconds=200)
    for _time in range(3):
        assert usable_token(account.pk).version == 1
    assert len(refreshes(sandbox)) == 1


# --- a token endpoint that misbehaves on the wire ---------------------------------------------------------------------
def sending(head: bytes, piece: bytes, pause: float) -> Any:
    """A script that answers with ``head``, then with ``piece`` again and again for as long as it is let."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(head)
        while True:
            time.sleep(pause)
            sock.sendall(piece)

    return script


ON_THE_WIRE = {
    "a byte at a time": sending(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" ", 0.02),
    "a header without an end": sending(b"HTTP/1.1 200 OK\r\nX-Padding: ", b"x", 0.02),
    "a body without an end": sending(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 65536, 0),
    "nothing": sending(b"", b"", 0.02),
}


@pytest.mark.parametrize("script", ON_THE_WIRE.values(), ids=ON_THE_WIRE)
def test_a_token_endpoint_without_an_end_is_given_up_within_the_bound(account, settings, script):
    settings.DEVIANTART_TOKEN_DEADLINE_SECONDS = settings.DEVIANTART_READ_DEADLINE_SECONDS = 0.5
    with WireServer(script) as server:
        settings.DEVIANTART_BASE_URL = server.url
        change(account, base_url=server.url)
        let_expire(account)
        with ends_soon(), pytest.raises(TokenUnavailable):
            usable_token(account.pk)
        assert server.connections == 1
    account.refresh_from_db()
    # Nobody knows whether the refresh token was used up.
    assert (account.state, account.token_version, account.refresh_in_doubt) == (State.ACTIVE, 1, True)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_the_refresh_token_follows_no_redirect(account, settings, status):
    with WireServer(answering(b"")) as elsewhere, WireServer(redirecting(status, f"{elsewhere.url}/steal")) as server:
        settings.DEVIANTART_BASE_URL = server.url
        change(account, base_url=server.url)
        let_expire(account)
        with pytest.raises(TokenUnavailable):
            usable_token(account.pk)
        assert (server.connections, elsewhere.connections) == (1, 0)
    account.refresh_from_db()
    assert account.state == State.ACTIVE


def redirecting(status: str, location: str) -> Any:
    return answering(reply(b"", status=status, headers={"Location": location}))


# --- lost answers ----------------------------------------------------------------------------------------------------
def test_after_a_lost_answer_the_token_is_used_as_long_as_it_lives_then_the_old_login_is_tried_once(sandbox, account):
    sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "reset_after_commit"}])
    let_expire(account, lives_seconds=200)
    assert usable_token(account.pk).version == 1
    let_rest(account)
    # Trying it again may end everything, so not while there is something to lose, however long it should live.
    assert usable_token(account.pk, must_live_seconds=600).version == 1
    assert len(refreshes(sandbox)) == 1
    let_expire(account)
    for _time in range(3):
        with pytest.raises(LoginLost):
            usable_token(account.pk)
    assert len(refreshes(sandbox)) == 2
    assert Notification.objects.filter(kind="login_lost").count() == 1


def test_an_answer_that_was_lost_before_deviantart_did_anything_costs_no_login(sandbox, account):
    sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "reset_before"}])
    let_expire(account, lives_seconds=200)
    assert usable_token(account.pk).version == 1
    let_rest(account)
    let_expire(account)
    assert usable_token(account.pk).version == 2
    account.refresh_from_db()
    assert not account.refresh_in_doubt


def test_a_lease_that_was_left_behind_means_that_nobody_knows(sandbox, account):
    change(account, refresh_lease_id=new_id(), refresh_lease_until=clock.now() - timedelta(seconds=1))
    let_expire(account, lives_seconds=200)
    assert usable_token(account.pk).version == 1
    assert refreshes(sandbox) == []
    let_expire(account)
    assert usable_token(account.pk).version == 2


def test_a_lease_that_is_held_is_waited_for_within_bounds(sandbox, account, settings):
    settings.TOKEN_REFRESH_LEASE_SECONDS = 0.2
    change(account, refresh_lease_id=new_id(), refresh_lease_until=clock.now() + timedelta(hours=1))
    let_expire(account)
    with pytest.raises(TokenUnavailable):
        usable_token(account.pk)
    assert refreshes(sandbox) == []


# --- writing down ----------------------------------------------------------------------------------------------------
@pytest.fixture
def answered(monkeypatch):
    """What happens between DeviantArt's answer and our writing it down."""

    def at_that_moment(happens: Any) -> None:
        refresh = oauth.refresh

        def refresh_then(*args: Any, **options: Any) -> oauth.TokenPair:
            pair = refresh(*args, **options)
            monkeypatch.setattr(oauth, "refresh", refresh)
            happens()
            return pair

        monkeypatch.setattr(oauth, "refresh", refresh_then)

    return at_that_moment


def cut_our_connection() -> None:
    with psycopg.connect(django_settings.DATABASE_URL) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def test_a_database_that_fails_at_that_moment_costs_no_login(transactional_db, sandbox, account, answered):
    let_expire(account)
    answered(cut_our_connection)
    assert usable_token(account.pk).version == 2
    assert len(refreshes(sandbox)) == 1


def test_a_database_that_fails_for_too_long_leaves_the_lease_behind(
    transactional_db, sandbox, account, settings, monkeypatch
):
    settings.TOKEN_WRITE_RETRY_SECONDS = 0.2
    tries = []

    def fail(*_args: Any, **_options: Any) -> None:
        tries.append(1)
        raise OperationalError("no space left on device")

    monkeypatch.setattr(tokens, "_swap", fail)
    let_expire(account)
    with pytest.raises(OperationalError):
        usable_token(account.pk)
    assert len(tries) > 1
    account.refresh_from_db()
    assert (account.token_version, account.state) == (1, State.ACTIVE)
    assert account.refresh_lease_id is not None


def test_a_reconnect_during_a_refresh_wins(sandbox, account, answered):
    let_expire(account)

    def reconnect() -> None:
        given = sandbox.tokens("mira")
        current = DeviantArtAccount.objects.get(pk=account.pk)
        tokens.store_tokens(current, oauth.TokenPair(given["access_token"], given["refresh_token"], 3600, ()))
        current.save()

    answered(reconnect)
    token = usable_token(account.pk)
    assert token.version == 2
    client_for(account, token).placebo()
    assert len(refreshes(sandbox)) == 1


def test_a_disconnect_during_a_refresh_wins(sandbox, account, answered):
    let_expire(account)

    def disconnect() -> None:
        current = DeviantArtAccount.objects.get(pk=account.pk)
        tokens.erase_tokens(current)
        current.state = State.DISCONNECTED
        current.save()

    answered(disconnect)
    with pytest.raises(LoginLost):
        usable_token(account.pk)
    account.refresh_from_db()
    assert (account.state, account.access_token, account.refresh_token) == (State.DISCONNECTED, "", "")


def test_a_pair_in_hand_outweighs_who_found_the_old_one_used_up(sandbox, account, answered):
    let_expire(account)

    def somebody_else_comes_after_our_lease_ran_out() -> None:
        change(account, refresh_lease_until=clock.now() - timedelta(seconds=1))
        with pytest.raises(LoginLost):
            usable_token(account.pk)
        account.refresh_from_db()
        assert account.state == State.REAUTH_REQUIRED

    answered(somebody_else_comes_after_our_lease_ran_out)
    assert usable_token(account.pk).version == 2
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (State.ACTIVE, "")
    assert AuditEvent.objects.filter(verb="account.login_recovered").count() == 1


# --- losing a login --------------------------------------------------------------------------------------------------
def test_a_login_is_lost_only_for_the_version_that_failed_and_only_once(account):
    assert not lose_login(account.pk, token_version=7, reason="rejected")
    assert lose_login(account.pk, token_version=1, reason="rejected")
    assert not lose_login(account.pk, token_version=1, reason="rejected")
    assert AuditEvent.objects.filter(verb="account.login_lost").count() == 1
    assert Notification.objects.count() == 1


def test_a_disconnected_account_stays_disconnected(account):
    tokens.erase_tokens(account)
    account.state = State.DISCONNECTED
    account.save()
    assert not lose_login(account.pk, token_version=1, reason="rejected")
    account.refresh_from_db()
    assert account.state == State.DISCONNECTED
    with pytest.raises(LoginLost):
        usable_token(account.pk)


# --- several processes -----------------------------------------------------------------------------------------------
def environment(sandbox: Any, **more: str) -> dict[str, str]:
    return environment_of_this_test(
        DEVIANTART_BASE_URL=sandbox.base_url,
        DEVIANTART_CLIENT_ID=sandbox.client_id,
        DEVIANTART_CLIENT_SECRET=sandbox.client_secret,
        **more,
    )


def ask_in_processes(sandbox: Any, account: DeviantArtAccount, count: int, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.accounts.refreshing", str(account.pk), str(count)],
        env=environment(sandbox, **more),
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.processes
def test_twenty_processes_on_one_expired_token_refresh_it_once(transactional_db, sandbox, account):
    # A second use of the old token would end the whole authorisation; the answer takes so long that all of them wait.
    sandbox.profile(strict_reuse=True, latency_ms={"/oauth2/token": 300})
    let_expire(account)
    asking = ask_in_processes(sandbox, account, 20)
    said = [json.loads(line) for line in asking.communicate(timeout=120)[0].splitlines()]
    assert asking.returncode == 0
    digest = hashlib.sha256(stored(account, "access_token").encode()).hexdigest()
    assert said == [{"version": 2, "digest": digest}] * 20
    assert len(refreshes(sandbox)) == 1
    client_for(account, usable_token(account.pk)).placebo()


@pytest.mark.processes
def test_a_process_killed_between_answer_and_commit_ends_in_a_lost_login_and_no_loop(
    transactional_db, sandbox, account, tmp_path
):
    work = DueDeviationFactory(workspace=account.workspace, account=account, files=0)
    (tmp_path / "token_refresh_answered").write_text("kill")
    let_expire(account)
    dying = subprocess.run(
        [sys.executable, "-c", DIES, str(account.pk)],
        env=environment(sandbox, ISEKAI_FAULTS_DIRECTORY=str(tmp_path)),
        timeout=120,
    )
    assert dying.returncode == -signal.SIGKILL
    assert len(refreshes(sandbox)) == 1
    asking = ask_in_processes(sandbox, account, 4)
    said = [json.loads(line) for line in asking.communicate(timeout=120)[0].splitlines()]
    assert said == [{"error": "login_lost"}] * 4
    assert len(refreshes(sandbox)) == 2
    assert Notification.objects.filter(kind="login_lost").count() == 1
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.SCHEDULED


DIES = """
import sys, django
from uuid import UUID
django.setup()
from accounts.services.tokens import usable_token
usable_token(UUID(sys.argv[1]))
"""
