"""Putting every stored secret under the newest key while everybody goes on working, and parting with the old ones.

A batch is read without a lock, encrypted anew in memory, and written by one statement that changes only rows whose pair
is still the one that was read, and that passes over rows which somebody holds at this moment. So nobody waits for it, a
refresh that comes in between wins, and a rotation that is killed leaves complete rows behind: some under the new key,
the rest under the old one, for the next run.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from accounts.errors import KeyNotLost, SecretUnreadable
from accounts.models import DeviantArtAccount, EncryptionKey
from accounts.models.deviantart_accounts import DeviantArtAccountQuerySet
from accounts.services.secrets import (
    Place,
    Purpose,
    configured_keys,
    decrypt,
    encrypt,
    key_id,
    row_of,
    rows_per_key,
    verify_keys,
)
from accounts.services.tokens import lose_tokens
from isekai import clock

logger = structlog.get_logger(__name__)

BATCH = 500
# Rows that somebody held, or changed under an older key, are left for the next round over the table.
ROUNDS = 10
ROUND_PAUSE_SECONDS = 0.5

COLUMNS = ("access_token", "refresh_token")

SWAP = """
WITH new AS (
    SELECT * FROM unnest(
        %(ids)s::uuid[], %(versions)s::integer[], %(keys)s::text[], %(access)s::text[], %(refresh)s::text[]
    ) AS new(id, token_version, encryption_key_id, access_token, refresh_token)
), free AS (
    SELECT id FROM accounts_deviantartaccount WHERE id = ANY(%(ids)s::uuid[])
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE accounts_deviantartaccount AS account
SET access_token = new.access_token, refresh_token = new.refresh_token, encryption_key_id = %(key)s
FROM new JOIN free USING (id)
WHERE account.id = new.id
    AND account.token_version = new.token_version
    AND account.encryption_key_id = new.encryption_key_id
"""


@dataclass(slots=True)
class Rotation:
    """How far a rotation is: of ``total`` rows that were under other keys, so many are done."""

    key_id: str
    total: int
    done: int = 0
    left: int = 0
    unreadable: set[UUID] = field(default_factory=set)

    @property
    def is_complete(self) -> bool:
        return not self.left and not self.unreadable


Watcher = Callable[[Rotation], None]


def rotate_secrets(*, batch: int = BATCH, watch: Watcher = lambda _rotation: None) -> Rotation:
    """Put every stored secret under the first key of the environment, ``batch`` rows at a time.

    ``watch`` is told after each batch. May be killed at any moment and run again, also several times at once. What
    cannot be read stays as it is, and is named in ``unreadable``; ``left`` counts rows that are under another key again
    and again, since some process still writes under it. Raises ImproperlyConfigured when a key that is needed is not
    there.
    """
    verify_keys()
    key = settings.ENCRYPTION_KEYS[0]
    rotation = Rotation(key_id(key), total=_under_other_keys(key).count())
    for number in range(ROUNDS):
        if number:
            time.sleep(ROUND_PAUSE_SECONDS * settings.ISEKAI_TIME_SCALE)
        for accounts in _batches(_under_other_keys(key), batch):
            rotation.done += _put_under(key, accounts, rotation)
            watch(rotation)
        rotation.left = _under_other_keys(key).exclude(pk__in=rotation.unreadable).count()
        if not rotation.left:
            break
    logger.info(
        "secrets_rotated",
        key_id=rotation.key_id,
        rows=rotation.done,
        left=rotation.left,
        unreadable=sorted(map(str, rotation.unreadable)),
    )
    return rotation


def rehearse_rotation(*, batch: int = BATCH, watch: Watcher = lambda _rotation: None) -> Rotation:
    """Do the whole of a rotation to a key that is made for it, and take every batch of it back.

    Shows that each stored secret can be read, and can be written and read again under another key; nothing changes.
    Raises ImproperlyConfigured when a key that is needed is not there.
    """
    verify_keys()
    key = os.urandom(32)
    stored = DeviantArtAccount.objects.filter(encryption_key__isnull=False)
    rotation = Rotation(key_id(key), total=stored.count())
    for accounts in _batches(stored, batch):
        # One transaction for each batch: its rows are held no longer than that takes.
        with transaction.atomic():
            row_of(key).save(force_insert=True)
            rotation.done += _put_under(key, accounts, rotation)
            rotation.unreadable |= _unreadable_under(key)
            transaction.set_rollback(True)
        watch(rotation)
    logger.info("rotation_rehearsed", rows=rotation.done, unreadable=sorted(map(str, rotation.unreadable)))
    return rotation


def retire_unused_keys() -> tuple[list[str], list[str]]:
    """Retire the keys older than the first one of the environment; returns those retired, and those still in use.

    A refresh that is under way may still write under an older key, so those that have begun are waited for, at most as
    long as a refresh may take. A key that was retired once is never used again; it may be taken out of the environment.
    """
    newest = EncryptionKey.objects.get(pk=key_id(settings.ENCRYPTION_KEYS[0]))
    # A key that was put behind the others to be known before it is used is younger: it stays.
    older = EncryptionKey.objects.filter(retired_at__isnull=True, created_at__lt=newest.created_at).order_by(
        "created_at"
    )
    _wait_for_refreshes_under_way()
    in_use = {name for name, rows in rows_per_key().items() if rows}
    retired, kept = [], []
    for key in older.order_by("created_at"):
        if key.pk not in in_use and _retire(key):
            retired.append(key.pk)
        else:
            kept.append(key.pk)
    logger.info("encryption_keys_retired", key_ids=retired, in_use=kept)
    return retired, kept


def give_up_key(name: str) -> int:
    """Do without a key that is lost: erase what only it could read, and ask the owners to connect again; how many.

    Works keep their times and wait, as after every lost login. Raises KeyNotLost for a key that the environment has or
    that was never used here.
    """
    key = EncryptionKey.objects.filter(pk=name).first()
    if key is None or name in configured_keys():
        raise KeyNotLost
    given_up = 0
    for account_id in DeviantArtAccount.objects.filter(encryption_key=key).values_list("pk", flat=True):
        with transaction.atomic():
            under_it = DeviantArtAccount.objects.filter(pk=account_id, encryption_key=key)
            account = under_it.select_for_update(of=("self",)).select_related("workspace").first()
            if account is not None:
                lose_tokens(account, reason="key_lost")
                given_up += 1
    _retire(key)
    logger.warning("encryption_key_given_up", key_id=name, accounts=given_up)
    return given_up


def _under_other_keys(key: bytes) -> DeviantArtAccountQuerySet:
    return DeviantArtAccount.objects.filter(encryption_key__isnull=False).exclude(encryption_key=key_id(key))


def _batches(rows: DeviantArtAccountQuerySet, size: int) -> Iterator[list[DeviantArtAccount]]:
    """All of ``rows`` once, by their keys, whatever becomes of them meanwhile."""
    rows = rows.order_by("pk")
    batch = list(rows[:size])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:size])


def _put_under(key: bytes, accounts: list[DeviantArtAccount], rotation: Rotation) -> int:
    """Write the pairs of ``accounts`` as they were read under ``key``; how many of them were still there unchanged."""
    sealed: list[tuple[DeviantArtAccount, str, str]] = []
    for account in accounts:
        try:
            access, refresh = (_sealed(account, column, key) for column in COLUMNS)
        except SecretUnreadable:
            rotation.unreadable.add(account.pk)
        else:
            sealed.append((account, access, refresh))
    with connection.cursor() as cursor:
        cursor.execute(
            SWAP,
            {
                "key": key_id(key),
                "ids": [account.pk for account, _access, _refresh in sealed],
                "versions": [account.token_version for account, _access, _refresh in sealed],
                "keys": [account.encryption_key_id for account, _access, _refresh in sealed],
                "access": [access for _account, access, _refresh in sealed],
                "refresh": [refresh for _account, _access, refresh in sealed],
            },
        )
        return cursor.rowcount


def _sealed(account: DeviantArtAccount, column: str, key: bytes) -> str:
    place = Place.of(account, column)
    return encrypt(decrypt(getattr(account, column), place, Purpose.TOKEN), place, Purpose.TOKEN, key=key)


def _unreadable_under(key: bytes) -> set[UUID]:
    unreadable = set()
    for account in DeviantArtAccount.objects.filter(encryption_key=key_id(key)):
        try:
            for column in COLUMNS:
                decrypt(getattr(account, column), Place.of(account, column), Purpose.TOKEN, keys={key_id(key): key})
        except SecretUnreadable:
            unreadable.add(account.pk)
    return unreadable


def _wait_for_refreshes_under_way() -> None:
    leases = DeviantArtAccount.objects.filter(refresh_lease_until__gt=clock.DatabaseNow())
    under_way = list(leases.values_list("refresh_lease_id", flat=True))
    # Each of them ends by itself.
    while leases.filter(refresh_lease_id__in=under_way).exists():
        time.sleep(settings.TOKEN_REFRESH_POLL_SECONDS)


def _retire(key: EncryptionKey) -> bool:
    try:
        with transaction.atomic():
            EncryptionKey.objects.filter(pk=key.pk).update(retired_at=clock.DatabaseNow())
    except IntegrityError:
        # Somebody has just written under it; the database keeps such a key.
        return False
    return True
