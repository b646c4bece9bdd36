"""Secrets at rest: AES-256-GCM (NIST SP 800-38D), each bound to the one place in the database where it belongs.

A stored secret reads ``v1:<key id>:<base64 of nonce, ciphertext and tag>``. Whoever can write to the database can
neither read one nor move it to another row, column, table or workspace, nor call it by another key.
"""

import base64
import binascii
import functools
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count

from accounts.errors import SecretUnreadable
from accounts.models import DeviantArtAccount, EncryptionKey

logger = structlog.get_logger(__name__)

SCHEME = "v1"
FORM = re.compile(r"v1:([0-9a-f]{8}):([A-Za-z0-9+/]+={0,2})")
NONCE_BYTES = 12
SENTINEL = "Isekai can read what it wrote."


class Purpose(StrEnum):
    """What a secret is for. Each purpose has a key of its own, derived from the same one of the environment."""

    TOKEN = "deviantart token"  # noqa: S105 - a label
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is stored. Raises ValueError when a part is missing: such a secret would fit elsewhere as well."""

    table: str
    column: str
    workspace: str
    row: str

    def __post_init__(self) -> None:
        if not (self.table and self.column and self.workspace and self.row):
            raise ValueError("A secret needs a table, a column, a workspace and a row that it belongs to.")

    @classmethod
    def of(cls, account: DeviantArtAccount, column: str) -> "Place":
        if not account.pk or not account.workspace_id:
            raise ValueError("A secret can be stored only for a row that has its key and its workspace.")
        return cls(account._meta.db_table, column, str(account.workspace_id), str(account.pk))


def encrypt(text: str, place: Place, purpose: Purpose, *, key: bytes | None = None) -> str:
    """``text`` under ``key`` (None: the newest one), to be stored at ``place`` and nowhere else."""
    key = settings.ENCRYPTION_KEYS[0] if key is None else key
    name = key_id(key)
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(_derive(key, purpose)).encrypt(nonce, text.encode(), _associated_data(place, name))
    return f"{SCHEME}:{name}:{base64.b64encode(nonce + sealed).decode()}"


def decrypt(stored: str, place: Place, purpose: Purpose, *, keys: Mapping[str, bytes] | None = None) -> str:
    """What was encrypted for ``place``. Raises SecretUnreadable for whatever is not exactly that.

    ``keys`` are those that it may be under, by their ids (None: those of the environment).
    """
    match = FORM.fullmatch(stored)
    key = (configured_keys() if keys is None else keys).get(match[1]) if match else None
    if match is None or key is None:
        raise SecretUnreadable
    try:
        sealed = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise SecretUnreadable from None
    # Several texts decode to the same bytes; only the one that we wrote is ours.
    if base64.b64encode(sealed).decode() != match[2]:
        raise SecretUnreadable
    try:
        text = AESGCM(_derive(key, purpose)).decrypt(
            sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _associated_data(place, match[1])
        )
    except (InvalidTag, ValueError):
        raise SecretUnreadable from None
    return text.decode()


def key_id(key: bytes) -> str:
    """The public name of a key."""
    return hashlib.sha256(key).hexdigest()[:8]


def configured_keys() -> dict[str, bytes]:
    """The keys of the environment by their ids, the newest first."""
    return {key_id(key): key for key in settings.ENCRYPTION_KEYS}


def writing_key() -> bytes:
    """The key that new secrets are to be under: the newest of the environment that is not retired.

    In a process that was started before the newest key came to the front, the one in front may have been retired since.
    A pair of tokens that it has just got exists nowhere else, and is kept under the next key that it knows.
    """
    configured = configured_keys()
    retired = EncryptionKey.objects.filter(pk__in=configured, retired_at__isnull=False).values_list("pk", flat=True)
    return next((key for name, key in configured.items() if name not in retired), settings.ENCRYPTION_KEYS[0])


def row_of(key: bytes) -> EncryptionKey:
    """What the database keeps of ``key``, not saved."""
    name = key_id(key)
    return EncryptionKey(
        id=name,
        digest=hashlib.sha256(key).hexdigest(),
        sentinel=encrypt(SENTINEL, _sentinel_place(name), Purpose.SENTINEL, key=key),
    )


def ensure_keys() -> None:
    """Give each key of the environment its row, so that what it encrypts can refer to it."""
    EncryptionKey.objects.bulk_create([row_of(key) for key in settings.ENCRYPTION_KEYS], ignore_conflicts=True)


def verify_keys() -> None:
    """Prove at the start that every stored secret can be read with the keys of the environment.

    Raises ImproperlyConfigured, naming the key's id and never the key, when one that is in use is missing or is not
    the same any more, or when the newest was retired.
    """
    ensure_keys()
    if EncryptionKey.objects.filter(pk=key_id(settings.ENCRYPTION_KEYS[0]), retired_at__isnull=False).exists():
        raise ImproperlyConfigured(
            f"The first key in ENCRYPTION_KEY has the id {key_id(settings.ENCRYPTION_KEYS[0])}, which was retired; "
            "expected: a new key in front of it."
        )
    configured = configured_keys()
    for row in EncryptionKey.objects.filter(retired_at__isnull=True):
        key = configured.get(row.pk)
        if key is None:
            if not is_in_use(row):
                continue
            raise ImproperlyConfigured(
                f"ENCRYPTION_KEY lacks the key with the id {row.pk}, under which secrets are stored; "
                "expected: that key after the newer ones."
            )
        if row.digest != hashlib.sha256(key).hexdigest() or not _sentinel_is_readable(row):
            raise ImproperlyConfigured(
                f"ENCRYPTION_KEY has a key with the id {row.pk} that is not the one under which secrets are stored; "
                "expected: the original one."
            )
    logger.info("encryption_keys_verified", key_ids=sorted(configured))


def is_in_use(key: EncryptionKey) -> bool:
    """Whether any stored secret needs this key."""
    return DeviantArtAccount.objects.filter(encryption_key=key).exists()


def rows_per_key() -> dict[str, int]:
    """How many rows hold secrets under each key that there is a row of, retired ones included."""
    rows = dict.fromkeys(EncryptionKey.objects.order_by("created_at", "pk").values_list("pk", flat=True), 0)
    used = DeviantArtAccount.objects.filter(encryption_key__isnull=False).order_by().values_list("encryption_key_id")
    return rows | dict(used.annotate(rows=Count("pk")))


def _sentinel_is_readable(row: EncryptionKey) -> bool:
    try:
        return decrypt(row.sentinel, _sentinel_place(row.pk), Purpose.SENTINEL) == SENTINEL
    except SecretUnreadable:
        return False


def _sentinel_place(name: str) -> Place:
    # A key belongs to the whole installation, not to one workspace.
    return Place(EncryptionKey._meta.db_table, "sentinel", "installation", name)


@functools.lru_cache(maxsize=64)
def _derive(key: bytes, purpose: Purpose) -> bytes:
    # RFC 5869. The keys of the environment are random already, so no salt is needed.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"isekai {SCHEME} {purpose}".encode()).derive(key)


def _associated_data(place: Place, name: str) -> bytes:
    # Each part behind its length: ("ab", "c") must not read like ("a", "bc").
    parts = [part.encode() for part in (SCHEME, place.table, place.column, place.workspace, place.row, name)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
