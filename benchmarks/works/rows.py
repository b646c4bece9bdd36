"""The rows that the benchmarks of works begin with: accounts with tokens that can be read, and works with a file."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import boto3
from botocore.config import Config
from django.conf import settings

from accounts.models import DeviantArtAccount, EncryptionKey, User, Workspace
from accounts.services.secrets import Place, Purpose, encrypt, key_id, row_of, writing_key
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.storage import original_key
from isekai import clock
from isekai.ids import new_id

AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What lies in the bucket; any number of works may be made of it."""

    key: str
    size: int
    sha256: str


def make_user(name: str) -> tuple[User, Workspace]:
    user = User.objects.create_user(f"{name}-{new_id().hex[-8:]}")
    return user, Workspace.objects.of(user).get()


def make_accounts(workspace: Workspace, number: int) -> list[DeviantArtAccount]:
    """Connected accounts whose tokens nobody has to renew for a day."""
    key = writing_key()
    if not EncryptionKey.objects.filter(pk=key_id(key)).exists():
        row_of(key).save()
    accounts = [_account(workspace, key) for _ in range(number)]
    return DeviantArtAccount.objects.bulk_create(accounts, batch_size=AT_ONCE)


def _account(workspace: Workspace, key: bytes) -> DeviantArtAccount:
    account = DeviantArtAccount(
        workspace=workspace,
        remote_user_id=str(new_id()).upper(),
        scopes=["basic", "user", "browse", "stash", "publish", "gallery"],
        base_url=settings.DEVIANTART_BASE_URL,
        encryption_key_id=key_id(key),
        access_expires_at=clock.now() + timedelta(days=1),
        refresh_expires_at=clock.now() + timedelta(days=90),
        token_version=1,
    )
    account.username = f"artist-{account.pk.hex[-8:]}"
    # The benchmarks' servers know by the token whose call it is.
    account.access_token = encrypt(
        f"access-{account.pk.hex}", Place.of(account, "access_token"), Purpose.TOKEN, key=key
    )
    account.refresh_token = encrypt(f"refresh-{account.pk}", Place.of(account, "refresh_token"), Purpose.TOKEN, key=key)
    return account


def store_file(workspace: Workspace, data: bytes, sha256: str) -> StoredFile:
    """Put ``data`` into the bucket as an original of the workspace."""
    storage: Any = boto3.client(
        "s3",
        endpoint_url=settings.S3_ENDPOINT,
        region_name=settings.S3_REGION,
        aws_access_key_id=settings.S3_ACCESS_KEY_ID,
        aws_secret_access_key=settings.S3_SECRET_ACCESS_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    key = original_key(workspace.pk, new_id())
    storage.put_object(Bucket=settings.S3_BUCKET_NAME, Key=key, Body=data, ContentType="image/png")
    return StoredFile(key, len(data), sha256)


def make_works(
    workspace: Workspace,
    accounts: Iterable[DeviantArtAccount],
    file: StoredFile,
    *,
    publish_at: Sequence[datetime] | datetime | None = None,
) -> list[Deviation]:
    """A work of each of ``accounts``, which may name one several times, each with a file and its publish variant.

    They are scheduled for ``publish_at``, one moment or one for each; drafts where that is None.
    """
    works, files, variants = [], [], []
    for number, account in enumerate(accounts):
        moment = publish_at[number] if isinstance(publish_at, Sequence) else publish_at
        work = Deviation(workspace=workspace, account=account, title=f"Work {number}", tags=["benchmark"])
        if moment is not None:
            work.status, work.scheduled_zone = Deviation.Status.SCHEDULED, "UTC"
            work.scheduled_at = work.publish_at = moment
            work.scheduled_local = moment.replace(tzinfo=None)
        original = DeviationFile(
            deviation=work,
            position=0,
            original_name="work.png",
            storage_key=original_key(workspace.pk, new_id()),
            content_type="image/png",
            size=file.size,
            width=100,
            height=80,
            sha256=file.sha256,
            media_state=DeviationFile.MediaState.READY,
        )
        works.append(work)
        files.append(original)
        variants.append(
            FileVariant(
                file=original,
                kind=FileVariant.Kind.PUBLISH,
                storage_key=file.key,
                content_type="image/png",
                size=file.size,
                sha256=file.sha256,
            )
        )
    Deviation.objects.bulk_create(works, batch_size=AT_ONCE)
    DeviationFile.objects.bulk_create(files, batch_size=AT_ONCE)
    FileVariant.objects.bulk_create(variants, batch_size=AT_ONCE)
    return works


def chosen_parts(known: Sequence[str]) -> list[str]:
    """Which parts of a benchmark are to run: those that BENCHMARK_PARTS names (``c5,lateness``), else all of them."""
    wanted = [name for name in os.environ.get("BENCHMARK_PARTS", "").split(",") if name]
    if unknown := set(wanted) - set(known):
        raise SystemExit(f"BENCHMARK_PARTS names {', '.join(sorted(unknown))}; there is {', '.join(known)}.")
    return [name for name in known if name in wanted or not wanted]


def account_of_token(token: str) -> UUID:
    return UUID(hex=token.removeprefix("access-"))
