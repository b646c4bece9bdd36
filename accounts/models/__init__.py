from accounts.models.api_keys import ApiKey
from accounts.models.audit import AuditEvent, Notification
from accounts.models.deviantart_accounts import DeviantArtAccount
from accounts.models.encryption import EncryptionKey
from accounts.models.idempotency import IdempotencyKey
from accounts.models.users import Identity, Membership, User, Workspace

__all__ = [
    "ApiKey",
    "AuditEvent",
    "DeviantArtAccount",
    "EncryptionKey",
    "IdempotencyKey",
    "Identity",
    "Membership",
    "Notification",
    "User",
    "Workspace",
]
