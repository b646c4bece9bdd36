"""Artists at work: they schedule, change their minds, and connect again what was lost; by the API, as programs do."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import requests
from django.db import Error as DatabaseFailure
from django.db import connection, transaction

from accounts.models import ApiKey, DeviantArtAccount, User, Workspace
from accounts.services.api_keys import create_api_key
from accounts.services.connecting import disconnect_account
from accounts.services.tokens import TOKEN_FIELDS, refresh_token_of, store_tokens
from deviantart.oauth import TokenPair
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, DeviationFile
from isekai.errors import IsekaiError
from tests import pictures
from tests.chaos.checker import moment
from tests.chaos.history import KEPT, Action, History, Said
from tests.connecting import connected_account
from tests.factories import DeviationFactory, DeviationFileFactory, PublishVariantFactory, UserFactory, workspace_of
from tests.publisher.works import put
from tests.sandbox_process import SandboxProcess

# Few, so that works of one name wait beside each other.
TITLES = ("Study", "Pool", "Dawn")
ANSWER_SECONDS = 20
FURTHEST_SECONDS = 45.0
RECONNECT_SECONDS = 3.0


@dataclass(slots=True)
class Piece:
    """A work as its artist knows it from the last answer."""

    id: UUID
    version: str = ""
    status: str = "draft"
    is_trashed: bool = False


@dataclass(slots=True)
class Artist:
    """A workspace with two accounts, its key, and what it has made."""

    number: int
    workspace: Workspace
    user: User
    accounts: list[DeviantArtAccount]
    key: str = field(repr=False)
    pieces: list[Piece] = field(default_factory=list)


# --- before the load -------------------------------------------------------------------------------------------------
def make_artist(sandbox: SandboxProcess, number: int) -> Artist:
    user = UserFactory(username=f"artist-{number}")
    workspace = workspace_of(user)
    accounts = [connected_account(sandbox, f"artist{number}{letter}", workspace=workspace) for letter in "ab"]
    scopes = [ApiKey.Scope.READ, ApiKey.Scope.WRITE]
    _row, key = create_api_key(workspace, user=user, name="chaos", scopes=scopes)
    return Artist(number, workspace, user, accounts, key)


def make_piece(artist: Artist, number: int, dice: random.Random, history: History, *, titles: int) -> list[str]:
    """A draft with its files in storage; returns their keys. One in eight has several, one in twelve is stash-only."""
    kind = dice.random()
    files = dice.choice([2, 3]) if kind < 0.125 else 1
    stash_only = files == 1 and kind > 0.92
    account, title = artist.accounts[0], dice.choice(TITLES[:titles])
    keys = []
    with transaction.atomic():
        work: Deviation = DeviationFactory(
            workspace=artist.workspace,
            account=account,
            title=title,
            upload_mode="multiple" if files > 1 else "single",
            stash_only=stash_only or None,
        )
        for place in range(files):
            body = pictures.png(1_000_000 * artist.number + 10 * number + place, size=(160, 120))
            file: DeviationFile = DeviationFileFactory(deviation=work)
            PublishVariantFactory(file=file, perceptual_hash=perceptual_hash(body))
            put(file, body)
            file.refresh_from_db()
            keys.append(file.storage_key)
    artist.pieces.append(Piece(work.pk))
    now = time.time()
    history.add(Action(str(work.pk), "made", now, now, None, Said(None, title, str(account.pk)), reached=False))
    return keys


# --- the load --------------------------------------------------------------------------------------------------------
@dataclass
class Load:
    """A thread for each artist; ``stop`` ends them all. ``healing`` goes on until the run ends."""

    base_url: str
    artists: list[Artist]
    sandbox: SandboxProcess
    history: History
    seconds: float
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    answers: int = 0
    unanswered: int = 0
    tokens: list[str] = field(default_factory=list, repr=False)
    """Those that were given out on the way: none may be seen anywhere."""

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, args=[artist], name=f"artist-{artist.number}", daemon=True)
            for artist in self.artists
        ]
        self._healer = threading.Thread(target=self._heal, name="artists-logins", daemon=True)
        for thread in (*self._threads, self._healer):
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(2 * ANSWER_SECONDS)

    def end(self) -> None:
        self.over.set()
        self._healer.join(ANSWER_SECONDS)

    # --- one artist --------------------------------------------------------------------------------------------------
    def _work(self, artist: Artist) -> None:
        dice = random.Random(f"{self.seed}:{artist.number}")
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {artist.key}"
        began = time.monotonic()
        fresh = list(artist.pieces)
        dice.shuffle(fresh)
        # Twice as often as there are works, so that each is changed about once.
        pause = self.seconds / max(1, 2.2 * len(artist.pieces))
        burst: float | None = None
        while not self.stopping.wait(dice.uniform(0.2, 1.8) * pause):
            done = (time.monotonic() - began) / self.seconds
            if fresh and (1 - len(fresh) / len(artist.pieces)) <= done:
                if burst is None or burst < time.time() + 1 or dice.random() < 0.3:
                    burst = time.time() + dice.uniform(1.5, 12) if dice.random() < 0.8 else time.time() + 40
                self._schedule(session, fresh.pop(), burst)
            else:
                piece = dice.choice(artist.pieces)
                self._change(session, artist, piece, dice)

    def _schedule(self, session: requests.Session, piece: Piece, at: float, *, name: str = "schedule") -> None:
        wanted = datetime.fromtimestamp(round(at), UTC)
        body = {"scheduled_at": wanted.isoformat().replace("+00:00", "Z")}
        self._ask(session, piece, name, "PUT", "schedule/", body, unknown=Said(wanted.timestamp()))

    def _change(self, session: requests.Session, artist: Artist, piece: Piece, dice: random.Random) -> None:
        """Something that makes sense for what the artist last saw; what they have not seen may make it a refusal."""
        soon = time.time() + dice.uniform(1.5, 15)
        if piece.is_trashed:
            self._ask(session, piece, "restore", "POST", "restore/", None, unknown=Said(KEPT))
            return
        choice = dice.random()
        if piece.status == "failed":
            self._ask(session, piece, "retry", "POST", "retry/", None, unknown=Said(time.time()))
        elif choice < 0.2:
            title = dice.choice(TITLES)
            body: dict[str, Any] = {"title": title, "tags": [f"t{dice.randrange(100)}"]}
            self._ask(session, piece, "edit", "PATCH", "", body, unknown=Said(KEPT, title=title))
        elif choice < 0.3:
            account = str(dice.choice(artist.accounts).pk)
            self._ask(session, piece, "move", "PATCH", "", {"account_id": account}, unknown=Said(KEPT, account=account))
        elif choice < 0.55:
            self._schedule(session, piece, soon, name="reschedule")
        elif choice < 0.7:
            self._ask(session, piece, "cancel", "DELETE", "schedule/", None, unknown=Said(None))
        elif choice < 0.78:
            self._ask(session, piece, "trash", "DELETE", "", None, unknown=Said(None))
        elif choice < 0.9:
            self._ask(session, piece, "publish_now", "POST", "publish-now/", None, unknown=Said(time.time()))
        elif choice < 0.93:
            self._disconnect(artist, dice)
        else:
            self._ask(session, piece, "read", "GET", "", None, unknown=None)

    def _ask(
        self,
        session: requests.Session,
        piece: Piece,
        name: str,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *,
        unknown: Said | None,
    ) -> None:
        """Make the call and write down what was answered; ``unknown`` is what may be so when nothing was."""
        url = f"{self.base_url}/api/deviations/{piece.id}/{path}"
        headers = {"If-Match": piece.version} if piece.version and method != "GET" else {}
        sent = time.time()
        answer, reached = None, True
        try:
            answer = session.request(method, url, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except requests.ConnectionError as error:
            reached = "refused" not in str(error)
        except requests.RequestException:
            pass
        answered = time.time()
        said = self._read(piece, answer)
        self.answers += answer is not None
        self.unanswered += answer is None
        if unknown is None:
            return  # it only read
        status = None if answer is None else answer.status_code
        self.history.add(
            Action(
                work=str(piece.id),
                name=name,
                sent=sent,
                answered=None if answer is None else answered,
                status=status,
                said=said or unknown or Said(KEPT),
                code=_code_of(answer),
                version=headers.get("If-Match", ""),
                reached=reached,
            )
        )

    def _read(self, piece: Piece, answer: requests.Response | None) -> Said | None:
        """What an accepting answer says of the work, which its artist then knows."""
        if answer is None or not answer.ok:
            if answer is not None and answer.status_code == requests.codes.precondition_failed:
                piece.version = ""
            return None
        if answer.status_code == requests.codes.no_content:
            piece.is_trashed, piece.version = True, ""
            return Said(None)
        body = answer.json()
        piece.status, piece.version, piece.is_trashed = body["status"], body["etag"], body["trashed_at"] is not None
        on_its_way = body["status"] in {"scheduled", "uploading", "publishing", "published"}
        at = moment(body["publish_at"]) if on_its_way and body["publish_at"] else None
        return Said(at, body["title"], body["account_id"])

    # --- logins ------------------------------------------------------------------------------------------------------
    def _disconnect(self, artist: Artist, dice: random.Random) -> None:
        """There is no call of the API for it: what the page does, done here. The healer connects it again."""
        account = dice.choice(artist.accounts)
        with _database_may_fail():
            try:
                disconnect_account(account, user=artist.user)
            except IsekaiError as error:
                self.history.note("disconnect_refused", account=str(account.pk), error=error.code)
            else:
                self.history.note("disconnected", account=str(account.pk), at=time.time())

    def _heal(self) -> None:
        """Connect again what lost its login, some seconds later, as its artist would."""
        lost_since: dict[UUID, float] = {}
        while not self.over.wait(0.5):
            with _database_may_fail():
                lost = DeviantArtAccount.objects.exclude(state=DeviantArtAccount.State.ACTIVE)
                for account in lost:
                    since = lost_since.setdefault(account.pk, time.monotonic())
                    if time.monotonic() - since > RECONNECT_SECONDS:
                        self.tokens += reconnect(self.sandbox, account.pk)
                        lost_since.pop(account.pk)
                        self.history.note("reconnected", account=str(account.pk), at=time.time())


@contextmanager
def _database_may_fail() -> Iterator[None]:
    """A database or a sandbox that is away at the moment: it is tried again later."""
    try:
        yield
    except (DatabaseFailure, IsekaiError, requests.RequestException, AssertionError):
        connection.close()


def _code_of(answer: requests.Response | None) -> str:
    if answer is None or answer.ok:
        return ""
    try:
        return str(answer.json().get("code", ""))
    except ValueError:
        return ""


def reconnect(sandbox: SandboxProcess, account_id: UUID) -> list[str]:
    """A new pair for an account that lost its own; returns the tokens."""
    with transaction.atomic():
        account = DeviantArtAccount.objects.select_for_update().get(pk=account_id)
        answer = sandbox.tokens(account.username)
        pair = TokenPair(
            access_token=answer["access_token"],
            refresh_token=answer["refresh_token"],
            expires_in=answer["expires_in"],
            scopes=tuple(answer["scope"].split()),
        )
        store_tokens(account, pair)
        account.save(update_fields=TOKEN_FIELDS)
    return [pair.access_token, pair.refresh_token]


def refresh_tokens_of(artists: list[Artist]) -> list[str]:
    """As they are stored now."""
    accounts = DeviantArtAccount.objects.filter(workspace__in=[artist.workspace for artist in artists])
    return [refresh_token_of(account) for account in accounts if account.refresh_token]
