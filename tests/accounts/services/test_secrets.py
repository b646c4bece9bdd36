"""Secrets at rest: bound to one place, one key and one purpose; anything else is one error."""

import base64
import hashlib
import hmac
import subprocess
import sys
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction

from accounts.errors import SecretUnreadable
from accounts.models import DeviantArtAccount, EncryptionKey
from accounts.services import secrets
from accounts.services.secrets import Place, Purpose, decrypt, encrypt
from isekai import clock
from isekai.ids import new_id
from tests.accounts.processes import environment_of_this_test
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

KEY = bytes(range(32))
OTHER_KEY = bytes(range(100, 132))
PLACE = Place(
    "accounts_deviantartaccount",
    "access_token",
    "01900000-0000-7000-8000-000000000001",
    "01900000-0000-7000-8000-000000000002",
)
NONCE = bytes(range(12))
# Made by `known_answer` below, which has nothing of ours.
KNOWN = "v1:630dcd29:AAECAwQFBgcICQoL14BZLZIOQOPSnaYY+xNh7vEMriVZyvRLJ6P4EVqxag8yRsim"


def known_answer() -> str:
    """The same by RFC 5869 and the form as it is documented."""
    key_id = hashlib.sha256(KEY).hexdigest()[:8]
    extracted = hmac.new(bytes(32), KEY, hashlib.sha256).digest()
    derived = hmac.new(extracted, b"isekai v1 deviantart token\x01", hashlib.sha256).digest()
    parts = ["v1", PLACE.table, PLACE.column, PLACE.workspace, PLACE.row, key_id]
    data = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts)
    sealed = AESGCM(derived).encrypt(NONCE, b"a token of an artist", data)
    return f"v1:{key_id}:{base64.b64encode(NONCE + sealed).decode()}"


@pytest.fixture
def keys(settings):
    settings.ENCRYPTION_KEYS = [KEY]


@pytest.fixture
def stored(keys):
    return encrypt("a token of an artist", PLACE, Purpose.TOKEN)


def is_refused(stored: str, place: Place = PLACE, purpose: Purpose = Purpose.TOKEN) -> bool:
    try:
        decrypt(stored, place, purpose)
    except SecretUnreadable as error:
        # Nothing of the text, the ciphertext or the key is in what is raised.
        told = repr(error)
        return "artist" not in told and (not stored or stored not in told) and error.__cause__ is None
    return False


def test_what_was_encrypted_is_read_at_its_place(stored):
    assert decrypt(stored, PLACE, Purpose.TOKEN) == "a token of an artist"


def test_the_known_answer_is_read(keys):
    assert known_answer() == KNOWN
    assert decrypt(KNOWN, PLACE, Purpose.TOKEN) == "a token of an artist"


def test_the_known_answer_is_what_is_written_with_its_nonce(keys, monkeypatch):
    monkeypatch.setattr("os.urandom", lambda size: NONCE[:size])
    assert encrypt("a token of an artist", PLACE, Purpose.TOKEN) == KNOWN


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, row="01900000-0000-7000-8000-000000000003"),
        replace(PLACE, workspace="01900000-0000-7000-8000-000000000004"),
        replace(PLACE, column="refresh_token"),
        replace(PLACE, table="accounts_identity"),
        # The parts run into each other only if nobody writes down how long they are.
        replace(PLACE, table="accounts_deviantartaccounta", column="ccess_token"),
    ],
    ids=["another row", "another workspace", "another column", "another table", "shifted parts"],
)
def test_a_secret_that_was_moved_is_refused(stored, elsewhere):
    assert is_refused(stored, elsewhere)


def test_a_secret_under_another_purpose_is_refused(stored):
    assert is_refused(stored, purpose=Purpose.SENTINEL)


def test_a_secret_that_names_another_key_is_refused(settings, keys, stored):
    settings.ENCRYPTION_KEYS = [KEY, OTHER_KEY]
    _scheme, _name, sealed = stored.split(":")
    assert is_refused(f"v1:{secrets.key_id(OTHER_KEY)}:{sealed}")
    assert is_refused(f"v1:00000000:{sealed}")


def test_every_flipped_bit_of_what_is_stored_is_refused(stored):
    for place, character in enumerate(stored):
        for bit in range(7):
            assert is_refused(stored[:place] + chr(ord(character) ^ 1 << bit) + stored[place + 1 :]), place


def test_every_flipped_byte_of_what_is_sealed_is_refused(stored):
    scheme, name, sealed = stored.split(":")
    raw = base64.b64decode(sealed)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]
        assert is_refused(f"{scheme}:{name}:{base64.b64encode(changed).decode()}"), place


def test_every_cut_is_refused(stored):
    for length in range(len(stored)):
        assert is_refused(stored[:length]), length
    raw = base64.b64decode(stored.split(":")[2])
    for length in range(len(raw)):
        assert is_refused(f"v1:{secrets.key_id(KEY)}:{base64.b64encode(raw[:length]).decode()}"), length


@pytest.mark.parametrize("plain", ["", "a token of an artist", "v1:", "v2:630dcd29:QUJD", "v1:630dcd29:@@@@", "v1::"])
def test_plain_text_is_never_taken_for_a_secret(keys, plain):
    assert is_refused(plain)


def test_another_spelling_of_the_same_bytes_is_refused(keys):
    stored = encrypt("four", PLACE, Purpose.TOKEN)  # 32 bytes: two bits of the last character carry nothing
    assert stored.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(stored[-2]) ^ 1]
    assert base64.b64decode(f"{stored.split(':')[2][:-2]}{other}=") == base64.b64decode(stored.split(":")[2])
    assert is_refused(f"{stored[:-2]}{other}=")


@pytest.mark.parametrize("part", ["table", "column", "workspace", "row"])
def test_a_secret_without_a_complete_place_is_refused_before_any_key_is_touched(settings, part):
    del settings.ENCRYPTION_KEYS
    with pytest.raises(ValueError, match="belongs to"):
        replace(PLACE, **{part: ""})


def test_an_account_without_a_key_or_a_workspace_takes_no_secret(settings):
    del settings.ENCRYPTION_KEYS
    with pytest.raises(ValueError, match="its workspace"):
        Place.of(DeviantArtAccount(), "access_token")
    with pytest.raises(ValueError, match="its workspace"):
        Place.of(DeviantArtAccount(id=None, workspace_id=new_id()), "access_token")


def test_no_nonce_is_used_twice(keys):
    nonces = {base64.b64decode(encrypt("x", PLACE, Purpose.TOKEN).split(":")[2])[:12] for _ in range(100_000)}
    assert len(nonces) == 100_000


def test_a_new_key_is_used_at_once_and_the_old_one_still_reads(settings, stored):
    settings.ENCRYPTION_KEYS = [OTHER_KEY, KEY]
    assert encrypt("x", PLACE, Purpose.TOKEN).split(":")[1] == secrets.key_id(OTHER_KEY)
    assert decrypt(stored, PLACE, Purpose.TOKEN) == "a token of an artist"


def test_another_django_secret_key_changes_nothing(settings, stored):
    settings.SECRET_KEY = "x" * 64
    assert decrypt(stored, PLACE, Purpose.TOKEN) == "a token of an artist"


# --- the keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def account(keys, db):
    """An account whose tokens are under KEY."""
    secrets.ensure_keys()
    account = DeviantArtAccountFactory.build(workspace=workspace_of(UserFactory()), encryption_key=None)
    for column in ("access_token", "refresh_token"):
        setattr(account, column, encrypt("x", Place.of(account, column), Purpose.TOKEN))
    account.encryption_key_id = secrets.key_id(KEY)
    account.save()
    return account


def test_migrating_gives_the_keys_of_the_environment_their_rows(settings, db):
    assert EncryptionKey.objects.filter(pk=secrets.key_id(settings.ENCRYPTION_KEYS[0])).exists()


def test_the_start_goes_on_when_every_key_in_use_is_there(account):
    secrets.verify_keys()


def test_the_start_stops_when_a_key_in_use_is_missing(settings, account):
    settings.ENCRYPTION_KEYS = [OTHER_KEY]
    with pytest.raises(ImproperlyConfigured, match=secrets.key_id(KEY)) as stopped:
        secrets.verify_keys()
    assert KEY.hex() not in str(stopped.value)


def test_a_missing_key_that_nothing_is_under_stops_nothing(settings, account):
    settings.ENCRYPTION_KEYS = [OTHER_KEY, KEY]
    secrets.verify_keys()
    settings.ENCRYPTION_KEYS = [KEY]
    secrets.verify_keys()


@pytest.mark.parametrize("changed", [{"digest": "0" * 64}, {"sentinel": "v1:630dcd29:QUJD"}])
def test_the_start_stops_when_a_key_is_not_the_one_that_was_used(account, changed):
    EncryptionKey.objects.filter(pk=secrets.key_id(KEY)).update(**changed)
    with pytest.raises(ImproperlyConfigured, match=secrets.key_id(KEY)):
        secrets.verify_keys()


def test_the_start_stops_when_new_secrets_would_be_written_under_a_retired_key(settings, account):
    settings.ENCRYPTION_KEYS = [OTHER_KEY, KEY]
    secrets.ensure_keys()
    EncryptionKey.objects.filter(pk=secrets.key_id(OTHER_KEY)).update(retired_at=clock.now())
    with pytest.raises(ImproperlyConfigured, match=secrets.key_id(OTHER_KEY)):
        secrets.verify_keys()


def test_a_key_in_use_cannot_be_retired_or_deleted(account):
    key = EncryptionKey.objects.filter(pk=secrets.key_id(KEY))
    with pytest.raises(IntegrityError), transaction.atomic():
        key.update(retired_at=clock.now())
    with pytest.raises(IntegrityError), transaction.atomic():
        key.delete()
    assert key.get().retired_at is None


def test_a_key_that_is_no_longer_in_use_can_be_retired(account):
    DeviantArtAccount.objects.update(state="disconnected", access_token="", refresh_token="", encryption_key=None)
    EncryptionKey.objects.filter(pk=secrets.key_id(KEY)).update(retired_at=clock.now())


def test_a_retired_key_takes_no_new_secret(settings, account):
    settings.ENCRYPTION_KEYS = [OTHER_KEY, KEY]
    secrets.ensure_keys()
    EncryptionKey.objects.filter(pk=secrets.key_id(OTHER_KEY)).update(retired_at=clock.now())
    for column in ("access_token", "refresh_token"):
        setattr(account, column, encrypt("x", Place.of(account, column), Purpose.TOKEN))
    account.encryption_key_id = secrets.key_id(OTHER_KEY)
    with pytest.raises(IntegrityError), transaction.atomic():
        account.save()


def test_the_table_refuses_plain_text_and_a_key_that_the_text_does_not_name(account):
    for changed in ({"access_token": "plain"}, {"refresh_token": "v1:00000000:QUJD"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            DeviantArtAccount.objects.filter(pk=account.pk).update(**changed)


@pytest.mark.processes
def test_a_process_with_another_key_does_not_start(transactional_db, settings, keys):
    secrets.ensure_keys()
    account = DeviantArtAccountFactory.build(workspace=workspace_of(UserFactory()), encryption_key=None)
    for column in ("access_token", "refresh_token"):
        setattr(account, column, encrypt("x", Place.of(account, column), Purpose.TOKEN))
    account.encryption_key_id = secrets.key_id(KEY)
    account.save()
    start = "import django; django.setup(); from accounts.services.secrets import verify_keys; verify_keys()"
    for key, is_good in ((KEY, True), (OTHER_KEY, False)):
        process = subprocess.run(
            [sys.executable, "-c", start],
            env=environment_of_this_test(ENCRYPTION_KEY=key.hex()),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (process.returncode == 0) is is_good, process.stderr
    assert secrets.key_id(KEY) in process.stderr
    assert not any(key.hex() in process.stderr for key in (KEY, OTHER_KEY))
