"""API keys: `isk_`, then 64 lower-case hex digits: 16 of public id, 40 of secret (160 bits), 8 of CRC32."""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, transaction

from accounts.models import ApiKey, User, Workspace
from accounts.services.audit import record
from isekai import clock

logger = structlog.get_logger(__name__)

KEY_FORM = re.compile(r"isk_([0-9a-f]{16})([0-9a-f]{40})([0-9a-f]{8})")
DEFAULT_LIFETIME = timedelta(days=90)
LAST_USED_EVERY = timedelta(minutes=5)
NO_DIGEST = "0" * 64


def create_api_key(
    workspace: Workspace,
    *,
    user: User,
    name: str,
    scopes: Iterable[ApiKey.Scope],
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key for ``user`` in ``workspace``; returns its row and the key itself, which cannot be shown again."""
    public_id, secret = secrets.token_hex(8), secrets.token_hex(20)
    with transaction.atomic():
        key = ApiKey.objects.create(
            workspace=workspace,
            user=user,
            name=name,
            public_id=public_id,
            secret_digest=_digest(secret),
            scopes=sorted(scopes),
            expires_at=expires_at or clock.now() + DEFAULT_LIFETIME,
        )
        record("api_key.created", key, user=user, name=name, scopes=key.scopes)
    return key, f"isk_{public_id}{secret}{_checksum(public_id + secret)}"


def revoke_api_key(key: ApiKey, *, user: User) -> None:
    """End a key at once; what is revoked stays revoked."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=clock.now()):
            record("api_key.revoked", key, user=user)


def find_api_key(raw: str) -> ApiKey | None:
    """The usable key that ``raw`` is, with its user and workspace; None for whatever is not one.

    A wrong checksum is answered without asking the database.
    """
    match = KEY_FORM.fullmatch(raw)
    if match is None:
        return None
    public_id, secret, checksum = match.groups()
    if not hmac.compare_digest(_checksum(public_id + secret), checksum):
        return None
    key = ApiKey.objects.usable().select_related("user", "workspace").filter(public_id=public_id).first()
    # Compared also where there is none, so that the time tells nothing.
    if not hmac.compare_digest(key.secret_digest if key else NO_DIGEST, _digest(secret)) or key is None:
        return None
    _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    now = clock.now()
    if key.last_used_at is not None and now - key.last_used_at < LAST_USED_EVERY:
        return
    try:
        with transaction.atomic():
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    except DatabaseError:
        # Knowing when a key was used is worth less than the call that it was used for.
        logger.warning("api_key_use_not_noted", api_key_id=str(key.pk))


def _digest(secret: str) -> str:
    # A plain hash is enough for 160 random bits (OWASP ASVS 5.0, 6.5.2 asks for at least 112).
    return hashlib.sha256(bytes.fromhex(secret)).hexdigest()


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
