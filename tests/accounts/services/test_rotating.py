"""Every stored secret goes under the newest key while everybody goes on working, and none is lost on the way."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import AuditEvent, DeviantArtAccount, EncryptionKey, Notification
from accounts.services import rotating
from accounts.services.rotating import Rotation, give_up_key, rehearse_rotation, retire_unused_keys, rotate_secrets
from accounts.services.secrets import Place, Purpose, decrypt, encrypt, ensure_keys, key_id, rows_per_key, verify_keys
from accounts.services.tokens import store_tokens
from deviantart.oauth import TokenPair
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from tests.accounts.issuer import Issuer
from tests.accounts.processes import environment_of_this_test
from tests.factories import DeviantArtAccountFactory, DueDeviationFactory, UserFactory, workspace_of
from tests.processes import wait_until

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
OLD_ID, NEW_ID = key_id(OLD), key_id(NEW)
State = DeviantArtAccount.State


COPY = """
INSERT INTO accounts_deviantartaccount (id, remote_user_id, access_token, refresh_token, {others})
SELECT new.id, new.id, new.access_token, new.refresh_token, {others}
FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS new(id, access_token, refresh_token), (
    SELECT {others} FROM accounts_deviantartaccount WHERE id = %s
) AS one
"""


def make_accounts(settings: Any, pairs: dict[UUID, TokenPair]) -> list[DeviantArtAccount]:
    """Accounts with these pairs under the old key; the new one comes to the front afterwards."""
    EncryptionKey.objects.all().delete()
    settings.ENCRYPTION_KEYS = [OLD]
    ensure_keys()
    first = DeviantArtAccountFactory.build(workspace=workspace_of(UserFactory()), encryption_key_id=OLD_ID)
    sealed = {
        account_id: [
            encrypt(text, place_of(account_id, first.workspace_id, column), Purpose.TOKEN)
            for column, text in zip(rotating.COLUMNS, (pair.access_token, pair.refresh_token), strict=True)
        ]
        for account_id, pair in pairs.items()
    }
    first.pk, *rest = pairs
    first.access_token, first.refresh_token = sealed[first.pk]
    first.save(force_insert=True)
    # By one statement: building thousands of models takes longer than everything that is tested here.
    columns = {each.attname for each in DeviantArtAccount._meta.concrete_fields}
    others = ", ".join(columns - {"id", "remote_user_id", *rotating.COLUMNS})
    with connection.cursor() as cursor:
        texts = [[sealed[account_id][index] for account_id in rest] for index in range(2)]
        cursor.execute(COPY.format(others=others), [rest, *texts, first.pk])
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    ensure_keys()
    return list(DeviantArtAccount.objects.order_by("pk"))


def place_of(account_id: UUID, workspace_id: UUID, column: str) -> Place:
    return Place("accounts_deviantartaccount", column, str(workspace_id), str(account_id))


@pytest.fixture
def accounts(db: None, settings: Any) -> list[DeviantArtAccount]:
    """Five, under the old key."""
    ids = sorted(new_id() for _ in range(5))
    pairs = [TokenPair(f"access {number}", f"refresh {number}", 3600, ()) for number in range(5)]
    return make_accounts(settings, dict(zip(ids, pairs, strict=True)))


def all_stored(accounts: Any = DeviantArtAccount.objects) -> dict[UUID, tuple[str, ...]]:
    """Every pair, all of them as they were at one moment."""
    found = accounts.values_list("pk", "workspace_id", *rotating.COLUMNS)
    return {
        account_id: tuple(
            decrypt(text, place_of(account_id, workspace_id, column), Purpose.TOKEN)
            for column, text in zip(rotating.COLUMNS, texts, strict=True)
        )
        for account_id, workspace_id, *texts in found
    }


def rows() -> list[Any]:
    return list(DeviantArtAccount.objects.order_by("pk").values())


@pytest.fixture
def while_a_batch_is_in_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Lets something happen once, between the reading of a batch and its writing."""

    def at_that_moment(happens: Callable[[], None]) -> None:
        def encrypt_then(*args: Any, **options: Any) -> str:
            monkeypatch.setattr(rotating, "encrypt", encrypt)
            happens()
            return encrypt(*args, **options)

        monkeypatch.setattr(rotating, "encrypt", encrypt_then)

    return at_that_moment


# --- putting under the newest key ------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, 2, 5, 500])
def test_everything_goes_under_the_newest_key_and_reads_the_same(accounts, batch):
    before, texts = rows(), all_stored()
    told: list[int] = []
    rotation = rotate_secrets(batch=batch, watch=lambda rotation: told.append(rotation.done))
    assert (rotation.total, rotation.done, rotation.left, rotation.unreadable) == (5, 5, 0, set())
    assert told == [min(done, 5) for done in range(batch, 5 + batch, batch)]
    assert rows_per_key() == {OLD_ID: 0, NEW_ID: 5}
    assert all_stored() == texts
    for was, row in zip(before, rows(), strict=True):
        assert was["access_token"] != row["access_token"]
        # Whoever holds a token of this version still holds the current one.
        same = was.keys() - {*rotating.COLUMNS, "encryption_key_id"}
        assert {name: was[name] for name in same} == {name: row[name] for name in same}


def test_a_second_rotation_has_nothing_to_do(accounts):
    rotate_secrets()
    before = rows()
    assert rotate_secrets().total == 0
    assert rows() == before


def test_a_lost_login_is_kept_readable_and_a_disconnected_account_has_nothing(accounts, settings):
    DeviantArtAccount.objects.filter(pk=accounts[0].pk).update(state=State.REAUTH_REQUIRED)
    DeviantArtAccount.objects.filter(pk=accounts[1].pk).update(
        state=State.DISCONNECTED, access_token="", refresh_token="", encryption_key=None
    )
    assert rotate_secrets().done == 4
    settings.ENCRYPTION_KEYS = [NEW]
    connected = DeviantArtAccount.objects.connected()
    assert all_stored(connected)[accounts[0].pk] == ("access 0", "refresh 0")


@pytest.mark.parametrize("front", [NEW, OLD], ids=["an up-to-date process", "one with the old key in front"])
def test_a_refresh_that_comes_in_between_wins(accounts, settings, while_a_batch_is_in_hand, front):
    def refresh() -> None:
        settings.ENCRYPTION_KEYS = [front, OLD if front == NEW else NEW]
        account = DeviantArtAccount.objects.get(pk=accounts[2].pk)
        store_tokens(account, TokenPair("newer access", "newer refresh", 3600, ()))
        account.save()
        settings.ENCRYPTION_KEYS = [NEW, OLD]

    while_a_batch_is_in_hand(refresh)
    assert rotate_secrets().is_complete
    assert rows_per_key() == {OLD_ID: 0, NEW_ID: 5}
    assert all_stored()[accounts[2].pk] == ("newer access", "newer refresh")
    assert all_stored()[accounts[3].pk] == ("access 3", "refresh 3")


def test_a_disconnect_that_comes_in_between_wins(accounts, while_a_batch_is_in_hand):
    def disconnect() -> None:
        DeviantArtAccount.objects.filter(pk=accounts[2].pk).update(
            state=State.DISCONNECTED, access_token="", refresh_token="", encryption_key=None
        )

    while_a_batch_is_in_hand(disconnect)
    assert rotate_secrets().is_complete
    assert DeviantArtAccount.objects.get(pk=accounts[2].pk).access_token == ""


def test_a_row_that_somebody_holds_is_passed_over_and_done_later(transactional_db, accounts):
    counts = []
    with psycopg.connect(environment_of_this_test()["DATABASE_URL"]) as other, connection.cursor() as cursor:
        # Nobody waits for it; whoever does, fails here.
        cursor.execute("SET lock_timeout = '10s'")
        other.execute("SELECT * FROM accounts_deviantartaccount WHERE id = %s FOR UPDATE", [accounts[2].pk])

        def let_go(rotation: Rotation) -> None:
            counts.append(rotation.done)
            other.rollback()

        assert rotate_secrets(watch=let_go).is_complete
        cursor.execute("RESET lock_timeout")
    assert counts == [4, 5]


def test_what_cannot_be_read_stops_nothing_and_is_named(accounts):
    broken = accounts[1]
    DeviantArtAccount.objects.filter(pk=broken.pk).update(access_token=accounts[0].access_token)
    before = rows()[1]
    rotation = rotate_secrets(batch=2)
    assert (rotation.done, rotation.unreadable, rotation.left) == (4, {broken.pk}, 0)
    assert not rotation.is_complete
    assert rows()[1] == before
    with pytest.raises(CommandError, match=str(broken.pk)):
        call_command("rotate_secrets", stdout=StringIO(), stderr=StringIO())


def test_rows_that_come_back_under_an_older_key_are_counted_and_said(accounts, settings, monkeypatch):
    monkeypatch.setattr(rotating, "ROUND_PAUSE_SECONDS", 0)

    def write_under_the_old_key(_rotation: Rotation) -> None:
        settings.ENCRYPTION_KEYS = [OLD, NEW]
        account = DeviantArtAccount.objects.get(pk=accounts[0].pk)
        store_tokens(account, TokenPair("newer access", "newer refresh", 3600, ()))
        account.save()
        settings.ENCRYPTION_KEYS = [NEW, OLD]

    assert rotate_secrets(watch=write_under_the_old_key).left == 1


# --- retiring --------------------------------------------------------------------------------------------------------
def retired() -> set[str]:
    return set(EncryptionKey.objects.filter(retired_at__isnull=False).values_list("pk", flat=True))


def test_only_older_keys_that_nothing_is_under_are_retired(accounts, settings):
    rotate_secrets()
    # Made known to everybody before it is used.
    younger = bytes(range(200, 232))
    settings.ENCRYPTION_KEYS = [NEW, OLD, younger]
    ensure_keys()
    assert retire_unused_keys() == ([OLD_ID], [])
    assert retired() == {OLD_ID}
    settings.ENCRYPTION_KEYS = [NEW]
    assert len(all_stored()) == 5
    assert retire_unused_keys() == ([], [])


def test_a_key_in_use_is_not_retired(accounts):
    assert retire_unused_keys() == ([], [OLD_ID])
    assert retired() == set()
    assert len(all_stored()) == 5


def test_refreshes_under_way_are_waited_for(accounts):
    rotate_secrets()
    ends_at = clock.database_now() + timedelta(seconds=0.3)
    DeviantArtAccount.objects.filter(pk=accounts[0].pk).update(refresh_lease_id=new_id(), refresh_lease_until=ends_at)
    assert retire_unused_keys() == ([OLD_ID], [])
    assert clock.database_now() > ends_at


def test_a_process_that_still_has_the_retired_key_in_front_loses_no_pair(accounts, settings):
    rotate_secrets()
    retire_unused_keys()
    settings.ENCRYPTION_KEYS = [OLD, NEW]
    account = DeviantArtAccount.objects.get(pk=accounts[0].pk)
    store_tokens(account, TokenPair("newer access", "newer refresh", 3600, ()))
    account.save()
    assert account.encryption_key_id == NEW_ID
    assert all_stored()[accounts[0].pk] == ("newer access", "newer refresh")


# --- a key that is lost -----------------------------------------------------------------------------------------------
def test_a_lost_key_is_given_up_with_what_only_it_could_read(accounts, settings):
    with pytest.raises(Stopped):
        rotate_secrets(batch=3, watch=stop)
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(ImproperlyConfigured, match=OLD_ID):
        verify_keys()
    work = DueDeviationFactory(workspace=accounts[4].workspace, account=accounts[4], files=0)
    before = Deviation.objects.filter(pk=work.pk).values().get()
    assert give_up_key(OLD_ID) == 2
    verify_keys()
    lost = DeviantArtAccount.objects.filter(pk__in=[account.pk for account in accounts[3:]])
    for account in lost:
        assert (account.state, account.state_reason) == (State.REAUTH_REQUIRED, "key_lost")
        assert (account.access_token, account.refresh_token, account.encryption_key_id) == ("", "", None)
    assert len(all_stored(DeviantArtAccount.objects.exclude(pk__in=lost))) == 3
    assert [each.kind for each in Notification.objects.all()] == ["login_lost"] * 2
    assert AuditEvent.objects.filter(verb="account.login_lost", subject_id=accounts[4].pk).count() == 1
    assert Deviation.objects.filter(pk=work.pk).values().get() == before
    assert retired() == {OLD_ID}
    # Again is nothing, and connecting again is as ever.
    assert give_up_key(OLD_ID) == 0
    account = lost[0]
    store_tokens(account, TokenPair("newer access", "newer refresh", 3600, ()))
    account.save()
    assert account.state == State.ACTIVE


class Stopped(Exception):
    """The rotation was ended in its midst."""


def stop(_rotation: Rotation) -> None:
    raise Stopped


@pytest.mark.parametrize("name", [OLD_ID, NEW_ID, "00000000", "x"])
def test_a_key_that_is_not_lost_is_not_given_up(accounts, name):
    before = rows()
    with pytest.raises(CommandError, match="no lost key"):
        run("--give-up", name)
    assert rows() == before


def test_the_command_gives_up_a_lost_key(accounts, settings):
    settings.ENCRYPTION_KEYS = [NEW]
    assert "5 accounts have to be connected again" in run("--give-up", OLD_ID)[0]


# --- the command -----------------------------------------------------------------------------------------------------
def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("rotate_secrets", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_says_how_far_it_is_and_what_it_did(accounts):
    out, err = run("--batch", "2", "--retire")
    assert f"2 of 5 rows under the key {NEW_ID}" in err
    assert f"5 rows were put under the key {NEW_ID}." in out
    assert f"Retired, may leave ENCRYPTION_KEY: {OLD_ID}." in out
    assert retired() == {OLD_ID}
    out, _err = run("--retire")
    assert "0 rows were put" in out
    assert "No key was to be retired." in out


def test_the_command_without_a_needed_key_names_it(accounts, settings):
    settings.ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match=OLD_ID):
        run()
    assert rows_per_key()[OLD_ID] == 5


def test_the_command_fails_when_a_process_writes_under_an_older_key(accounts, monkeypatch):
    monkeypatch.setattr(rotating, "rotate_secrets", lambda **_options: Rotation(NEW_ID, total=5, done=5, left=1))
    with pytest.raises(CommandError, match="some process still writes"):
        run("--retire")
    assert retired() == set()


@pytest.mark.parametrize("batch", ["0", "-1", "10001", "many", ""])
def test_a_batch_is_a_sensible_number(db, batch):
    with pytest.raises(CommandError):
        run(f"--batch={batch}")


def test_a_drill_goes_all_the_way_and_changes_nothing(accounts):
    before, keys = rows(), list(EncryptionKey.objects.order_by("pk").values())
    out, err = run("--drill", "--batch", "2")
    assert "5 of 5 rows could be put under a new key, and were left." in out
    assert "2 of 5 rows" in err
    assert rows() == before
    assert list(EncryptionKey.objects.order_by("pk").values()) == keys


def test_a_drill_finds_what_cannot_be_read(accounts):
    DeviantArtAccount.objects.filter(pk=accounts[1].pk).update(refresh_token=accounts[0].refresh_token)
    with pytest.raises(CommandError, match=str(accounts[1].pk)):
        run("--drill")


def test_a_drill_finds_what_could_not_be_read_again(accounts, monkeypatch):
    # As if the columns were mixed up when they are written.
    monkeypatch.setattr(rotating, "SWAP", rotating.SWAP.replace("= new.access_token", "= new.refresh_token"))
    assert rehearse_rotation().unreadable == {account.pk for account in accounts}


def test_a_drill_and_retiring_exclude_each_other(accounts):
    with pytest.raises(CommandError):
        run("--drill", "--retire")


# --- killed, while others work ---------------------------------------------------------------------------------------
ROWS, BATCH, SEED = 5000, 40, 20261124


class Helper:
    """The process that forks the others, see `tests.accounts.rotating`."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self._log = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.accounts.rotating", OLD_ID, str(BATCH)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def ask(self, command: str) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        self._log.close()


@pytest.mark.processes
def test_a_rotation_that_is_killed_again_and_again_under_refreshes_loses_nothing(transactional_db, settings, tmp_path):
    rng = random.Random(SEED)
    log = tmp_path / "log"
    with Issuer() as issuer:
        settings.DEVIANTART_BASE_URL = issuer.base_url
        make_accounts(
            settings, {account_id: issuer.issue(account_id) for account_id in [new_id() for _ in range(ROWS)]}
        )
        environment = environment_of_this_test(
            ENCRYPTION_KEY=f"{NEW.hex()},{OLD.hex()}", DEVIANTART_BASE_URL=issuer.base_url, LOG_LEVEL="WARNING"
        )
        helper = Helper(log, environment)
        try:
            helper.ask("refresh mixed")
            helper.ask("check")
            wait_until(lambda: issuer.refreshes > 3, what=log.read_text)
            for left in sorted(rng.sample(range(1000, ROWS - 300), 5), reverse=True):
                assert helper.ask(f"rotate {left} {rng.uniform(0, 0.02)}") == -signal.SIGKILL, log.read_text()
                assert len(all_stored()) == ROWS
            # From now on every process has the new key in front.
            assert helper.ask("stop") == 0, log.read_text()
            helper.ask("refresh")
            helper.ask("check")
            assert helper.ask("rotate") == 0, log.read_text()
            refreshes = issuer.refreshes
            wait_until(lambda: issuer.refreshes > refreshes, what=log.read_text)
            assert helper.ask("stop") == 0, log.read_text()
        finally:
            helper.end()
    assert rows_per_key() == {OLD_ID: 0, NEW_ID: ROWS}
    assert all_stored() == {owner: (pair.access_token, pair.refresh_token) for owner, pair in issuer.newest.items()}
    assert issuer.misused == []
    assert DeviantArtAccount.objects.filter(state=State.ACTIVE).count() == ROWS
