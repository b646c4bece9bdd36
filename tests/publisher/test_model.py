"""A model of the engine: its real services over a real PostgreSQL, against a DeviantArt that loses answers.

Hypothesis draws what happens, in which order, and what happens *during* a call: a publisher that is taken for dead
while it is on the wire, an artist who cancels in that moment, an answer that is lost, a publish that DeviantArt carries
out later. All of it under one clock that only the model moves, so that a run is the same each time.

DeviantArt is at its worst here: two publishes of one item at the same moment both succeed.
"""

import contextlib
import hashlib
import io
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, Phase
from hypothesis import seed as hypothesis_seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from accounts.errors import LoginLost, TokenUnavailable
from accounts.models import AuditEvent, DeviantArtAccount, Notification
from accounts.services.tokens import Token
from deviantart.breaker import Breaker, BreakerConfig
from deviantart.errors import (
    AlreadyPublished,
    AnswerLost,
    DeviantArtError,
    ItemNotFound,
    NotAuthorized,
    PublicationFailed,
    QuotaExceeded,
    RateLimited,
    Rejected,
    ServerFailed,
    TokenExpired,
    Unreachable,
)
from deviantart.gate import Gate
from deviantart.pace import Pace, PaceConfig
from deviantart.types import Metadata, PublishReceipt
from deviations import storage
from deviations.errors import DeviationError
from deviations.models import Deviation, FileVariant
from deviations.services import drafting, scheduling, trashing
from isekai import clock, faults
from publisher.errors import ClaimLost
from publisher.models import Attempt, GalleryCheck, Publication, StashItem, Worker
from publisher.services import (
    claiming,
    deciding,
    evidence,
    guarding,
    heartbeat,
    job,
    marks,
    publishing,
    recognising,
    rescuing,
    restoring,
    settling,
    staging,
    steps,
)
from publisher.services.job import Job
from publisher.services.slots import Slots
from tests.factories import (
    DeviantArtAccountFactory,
    DeviationFactory,
    DeviationFileFactory,
    PublishVariantFactory,
    UserFactory,
    workspace_of,
)
from tests.fakes import FakeDeviantArt

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
BASE_URL = "http://127.0.0.1:9080"
TITLES = ("Pool", "Sea")
# Two pictures that are told apart, as hashes: recognising them is tested elsewhere.
LOOKS = ("0" * 16, "f" * 16)
ENDED = {"draft", "published", "failed", "needs_decision"}


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, not even its clean-up."""


# --- DeviantArt -----------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """A publish call as DeviantArt saw it; ``known`` once its answer told how it ended."""

    at: datetime
    known: bool = False

    @property
    def over_at(self) -> datetime:
        return self.at + timedelta(seconds=settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS)


class Gallery(FakeDeviantArt):
    """One artist's DeviantArt. A publish that found its item unpublished when it came succeeds, whatever came since."""

    def __init__(self, world: "Engine", account_id: UUID) -> None:
        super().__init__()
        self.world = world
        self.account_id = account_id
        self.now = clock.database_now
        self._ids = world.remote_ids
        self.publish_calls: dict[int, list[Call]] = {}
        self.by_hand: set[str] = set()

    def publish(self, item_id: int, *, before_send: Callable[[], None] | None = None, **fields: Any) -> Any:
        self.calls.append("publish")
        if before_send:
            before_send()
        self._watch_for_a_blind_repeat(item_id)
        call = Call(self.world.now())
        self.publish_calls.setdefault(item_id, []).append(call)
        was_published, restores = self.items[item_id]["published"], self.world.restores
        self.world.at("on_the_wire")
        if self.publish_answers and isinstance(self.publish_answers[0], LostLate):
            arrives_at = min(self.world.now() + timedelta(seconds=self.publish_answers.popleft().seconds), call.over_at)
            self.world.late.append((arrives_at, lambda: self._arrive_late(item_id, fields, was_published, restores)))
            raise AnswerLost
        try:
            receipt = self._answer(self.publish_answers, lambda: self._arrive(item_id, fields, was_published, restores))
        except DeviantArtError as error:
            call.known = not isinstance(error, (AnswerLost, ServerFailed))
            raise
        call.known = True
        return receipt

    def _arrive(self, item_id: int, fields: dict[str, Any], was_published: bool, restores: int) -> PublishReceipt:
        if was_published:
            raise AlreadyPublished(error_code=9, http_status=400)
        self.items[item_id]["published"] = False
        receipt = self._publish(item_id, fields)
        self.world.appeared(self, self.items[item_id], restores)
        return receipt

    def _arrive_late(self, item_id: int, fields: dict[str, Any], was_published: bool, restores: int) -> None:
        """What DeviantArt does after the connection is gone."""
        with contextlib.suppress(AlreadyPublished):
            self._arrive(item_id, fields, was_published, restores)

    def made_of(self, body: bytes) -> set[str]:
        """Which deviations calls have made of a file."""
        return {made for item_id, made in self.made.items() if self.items[item_id]["body"] == body}

    def deviation_metadata(self, ids: Sequence[str], *, ext_submission: bool = False) -> tuple[Metadata, ...]:
        known = super().deviation_metadata(ids, ext_submission=ext_submission)
        return tuple(Metadata(each.deviation_id) if each.deviation_id in self.by_hand else each for each in known)

    def _watch_for_a_blind_repeat(self, item_id: int) -> None:
        for earlier in self.publish_calls.get(item_id, []):
            is_over = earlier.known or self.world.now() >= earlier.over_at
            self.world.must(is_over, "a publish call was repeated while the first may still run")


@dataclass(frozen=True)
class LostLate:
    """An answer for a publish call: the connection is cut, and DeviantArt carries the call out so much later."""

    seconds: float


# --- what may happen ------------------------------------------------------------------------------------------------

SUBMIT_ANSWERS: dict[str, Callable[[], Any]] = {
    "lost": AnswerLost,
    "lost after": lambda: (AnswerLost(), "after"),
    "429": lambda: RateLimited(retry_after_seconds=1),
    "500": lambda: ServerFailed(http_status=500),
    "unreachable": Unreachable,
    "refused": Rejected,
    "expired": TokenExpired,
    "quota": QuotaExceeded,
}
PUBLISH_ANSWERS: dict[str, Callable[[], Any]] = {
    **SUBMIT_ANSWERS,
    "500 after": lambda: (ServerFailed(http_status=500), "after"),
    "code 6": lambda: PublicationFailed(error_code=6, http_status=400),
    "code 7": lambda: ItemNotFound(error_code=7, http_status=400),
    "lost, done in a moment": lambda: LostLate(0.7),
    "lost, done at the last moment": lambda: LostLate(5.9),
    "login gone": NotAuthorized,
}
MOMENTS = (
    "after_claim",
    "submit_intended",
    "submit_answered",
    "item_committed",
    "publish_intended",
    "before_publish_sent",
    "on_the_wire",
    "publish_answered",
    "publish_committed",
    "look_up_intended",
    "look_up_answered",
    "between_files",
    "stage_claimed",
    "stage_submitted",
)
# What may come between two lines of a publisher's.
MEANWHILE = (
    "bury",
    "other publisher",
    "cancel",
    "edit",
    "move",
    "trash",
    "publish now",
    "upload by hand",
    "wait",
    "wait long",
)
Plan = dict[str, tuple[list[str], bool]]
interruptions = st.dictionaries(
    st.sampled_from(MOMENTS),
    st.tuples(st.lists(st.sampled_from(MEANWHILE), max_size=3), st.booleans()),
    max_size=2,
)


# What no row may ever say, each with its name.
FORBIDDEN = """
    SELECT 'nobody knows whether it is live, and it went on all the same' FROM deviations_deviation d
    WHERE d.status NOT IN ('publishing', 'needs_decision') AND EXISTS (
        SELECT 1 FROM publisher_publication p JOIN publisher_attempt a ON a.publication_id = p.id
        WHERE p.deviation_id = d.id AND p.state <> 'published' AND a.step = 'publish'
        AND (a.outcome IS NULL OR a.outcome = 'unknown') AND a.settled_at IS NULL)
    UNION ALL SELECT 'a call ended, and nobody wrote down how' FROM publisher_attempt
    WHERE outcome IS NULL AND worker_id <> ALL(%s)
    UNION ALL SELECT 'a fault of our own' FROM deviations_deviation WHERE reason_code = 'our_fault'
    UNION ALL SELECT 'a publisher kept a work' FROM deviations_deviation WHERE worker_id = %s
    UNION ALL SELECT 'a publisher kept a lane' FROM publisher_publication WHERE stage_worker_id = %s
"""


class Engine(RuleBasedStateMachine):
    """The installation: two accounts of one artist, some works, and publishers that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.moment = EPOCH
        self.remote_ids = itertools.count(1)
        self.bodies: dict[str, bytes] = {}
        self.hashes: dict[bytes, str] = {}
        self.work_of: dict[bytes, UUID] = {}
        self.body_of: dict[UUID | None, bytes] = {}
        self.works: list[UUID] = []
        # For which account each was, when somebody last said anything about it.
        self.account_of: dict[UUID, UUID | None] = {}
        self.appearances: list[tuple[UUID, bytes]] = []
        self.cancelled: set[UUID] = set()
        self.late: list[tuple[datetime, Callable[[], None]]] = []
        self.plan: Plan = {}
        self.wire_until: datetime | None = None
        # How often the database was put back to what it was.
        self.restores = 0
        self.at_work: list[UUID] = []
        self.killed_at_work: set[UUID] = set()
        self.token_answers: list[Exception] = []
        self.broken: list[str] = []
        self.slots = Slots(4)
        self.block = self._begin()

    # --- the world around it ---

    def _begin(self) -> transaction.Atomic:
        """Everything of a run is rolled back at its end; what must be committed on its own still may."""
        block = transaction.atomic()
        block._from_testcase = True  # type: ignore[attr-defined]  # as Django's own TestCase does
        block.__enter__()
        self._patch()
        self._set_clock()
        user = UserFactory()
        workspace = workspace_of(user)
        self.accounts = [DeviantArtAccountFactory(workspace=workspace, base_url=BASE_URL) for _ in range(2)]
        self.galleries = {account.pk: Gallery(self, account.pk) for account in self.accounts}
        self.worker = self._new_worker()
        return block

    def _patch(self) -> None:
        patch = self.patches.setattr
        random.seed(0)
        patch(settings, "DEVIANTART_BASE_URL", BASE_URL)
        patch(settings, "DEVIANTART_APPLICATION_NAME", "Isekai")
        patch(clock, "now", self.now)
        patch(faults, "reach", self.at)
        patch("isekai.queue.send", lambda *_arguments, **_options: None)
        patch("isekai.queue.nudge", lambda: None)
        gate = Gate(Pace(Redis(), PaceConfig(enabled=False)), Breaker(Redis(), BreakerConfig(enabled=False)))
        patch("publisher.services.turns.gate", lambda: gate)
        patch(storage, "open_stream", lambda key, offset=0, **_options: io.BytesIO(self.bodies[key][offset:]))
        self._patch_marks()
        for module in (publishing, staging):
            patch(module, "slots", lambda: self.slots)
        for module in (recognising, restoring):
            patch(module, "perceptual_hash", lambda body: self.hashes[body])
        for module in (job, recognising, restoring):
            patch(module, "client_for", lambda account, _token: self.galleries[account.pk])
            patch(module, "usable_token", self._token)
        ours = SimpleNamespace(monotonic=self._monotonic, sleep=self.wait, perf_counter=self._monotonic)
        for name, module in list(sys.modules.items()):
            if name.startswith("publisher.services.") and getattr(module, "time", None) is time:
                patch(module, "time", ours)

    def _patch_marks(self) -> None:
        """This database forgets nothing, so that nothing need be remembered elsewhere."""
        self.patches.setattr(marks, "raise_mark", lambda *_arguments, **_options: None)

    def _token(self, _account_id: UUID, **_options: Any) -> Token:
        if self.token_answers:
            raise self.token_answers.pop()
        return Token("token", 1)

    def now(self) -> datetime:
        return self.moment

    def _monotonic(self) -> float:
        return (self.moment - EPOCH).total_seconds()

    def _set_clock(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('isekai.now', %s, false)", [self.moment.isoformat()])

    def wait(self, seconds: float) -> None:
        """Let time pass, and DeviantArt do what it still has to do."""
        until = self.moment + timedelta(seconds=seconds)
        if self.wire_until is not None:
            until = min(until, self.wire_until)  # by then the client itself has given its call up
        for at, arrive in sorted(self.late, key=lambda each: each[0]):
            if at <= until:
                self.late = [each for each in self.late if each[1] is not arrive]
                self.moment = max(self.moment, at)
                self._set_clock()
                arrive()
        self.moment = max(self.moment, until)
        self._set_clock()

    def _new_worker(self) -> UUID:
        worker = Worker.objects.create(
            host="model", process_id=1, slots=4, started_at=self.now(), alive_until="2100-01-01T00:00:00Z"
        )
        return worker.pk

    def _bury(self) -> None:
        """The publisher at work is taken for dead, as is one that was stopped for longer than its lease."""
        Worker.objects.filter(pk=self.at_work[-1] if self.at_work else self.worker).update(alive_until=self.now())
        rescuing.rescue_stuck()

    @contextlib.contextmanager
    def _as_publisher(self, worker_id: UUID) -> Iterator[None]:
        before = heartbeat._this_worker
        heartbeat._this_worker = worker_id
        slots_before, self.slots = self.slots, Slots(4)
        self.at_work.append(worker_id)
        wire, self.wire_until = self.wire_until, None if not self.at_work[:-1] else self.wire_until
        try:
            yield
        finally:
            self.wire_until = wire
            self.at_work.pop()
            self.slots = slots_before
            heartbeat._this_worker = before

    # --- what is watched ---

    def appeared(self, gallery: Gallery, item: dict[str, Any], restores: int) -> None:
        """A deviation has become public: at this moment its work must have wanted that."""
        self.appearances.append((self.work_of[item["body"]], item["body"]))
        if restores != self.restores:
            return  # a call that this database knows nothing of
        work = Deviation.objects.get(pk=self.work_of[item["body"]])
        self.must(work.pk not in self.cancelled, "published after it was cancelled")
        self.must(work.publish_at is not None and work.publish_at <= self.now(), "published before its time")
        self.must(gallery.account_id == self.account_of[work.pk], "published for another account")
        self.must(item["title"] == work.title, "published with other words")

    def must(self, holds: bool, promise: str) -> None:
        """Remember what was broken: the engine is at work here, and would take an exception for a fault of its own."""
        if not holds:
            self.broken.append(promise)

    @invariant()
    def every_promise_holds(self) -> None:
        bodies = [body for _work, body in self.appearances]
        self.must(len(bodies) == len(set(bodies)), "a file was published twice")
        for part in Publication.objects.live():
            own = self.galleries[part.account_id].made_of(self.body_of[part.file_id])
            self.must(bool(own), "something counts as published that is not")
            self.must(part.remote_deviation_id in {None, *own}, "a work has another one's address")
        with connection.cursor() as cursor:
            cursor.execute(FORBIDDEN, [list(self.killed_at_work), self.worker, self.worker])
            self.broken.extend(promise for (promise,) in cursor.fetchall())
        assert not self.broken, ", ".join(dict.fromkeys(self.broken))

    # --- what happens ---

    @initialize(looks=st.lists(st.sampled_from(LOOKS), min_size=2, max_size=3))
    def the_artist_has_works(self, looks: list[str]) -> None:
        for look in looks:
            self._add_work(self.accounts[0], TITLES[0], [look], in_seconds=0)

    @rule(
        title=st.sampled_from(TITLES),
        looks=st.lists(st.sampled_from(LOOKS), min_size=1, max_size=2),
        account=st.integers(0, 1),
        in_seconds=st.sampled_from([0, 2, 60]),
    )
    def another_work(self, title: str, looks: list[str], account: int, in_seconds: int) -> None:
        if len(self.works) < 5:
            self._add_work(self.accounts[account], title, looks, in_seconds=in_seconds)

    def _add_work(self, account: DeviantArtAccount, title: str, looks: list[str], *, in_seconds: float) -> None:
        at = self.now() + timedelta(seconds=in_seconds)
        mode = Deviation.UploadMode.SINGLE if len(looks) == 1 else Deviation.UploadMode.MULTIPLE
        work = DeviationFactory(
            workspace=account.workspace,
            account=account,
            title=title,
            upload_mode=mode,
            status="scheduled",
            scheduled_at=at,
            publish_at=at,
            scheduled_zone="UTC",
        )
        self.works.append(work.pk)
        self.account_of[work.pk] = account.pk
        for each in looks:
            body = f"{len(self.bodies)}".encode()
            look = self._look_of(body, each)
            sha256 = hashlib.sha256(body).hexdigest()
            file = DeviationFileFactory(deviation=work, sha256=sha256, size=len(body))
            PublishVariantFactory(file=file, perceptual_hash=look)
            self.bodies[FileVariant.objects.get(file=file).storage_key] = body
            self.hashes[body], self.work_of[body], self.body_of[file.pk] = look, work.pk, body

    def _look_of(self, _body: bytes, look: str) -> str:
        return look

    @rule(
        after=st.sampled_from([0, 0, 0.6, 3.0, 8.0]),
        account=st.sampled_from([0, 0, 0, 1]),
        submit=st.sampled_from([None, None, None, *SUBMIT_ANSWERS]),
        publish=st.sampled_from([None, *PUBLISH_ANSWERS]),
        plan=interruptions,
    )
    def a_publisher_takes_up_what_is_due(
        self, after: float, account: int, submit: str | None, publish: str | None, plan: Plan
    ) -> None:
        self.wait(after)
        self._let_a_publisher(publishing.publish_next, account, submit, publish, plan)

    @rule(
        account=st.sampled_from([0, 0, 0, 1]),
        submit=st.sampled_from([None, None, None, *SUBMIT_ANSWERS]),
        plan=interruptions,
    )
    def a_publisher_uploads_ahead(self, account: int, submit: str | None, plan: Plan) -> None:
        self._let_a_publisher(staging.stage_next, account, submit, None, plan)

    @rule(
        what=st.sampled_from(
            ["cancel", "edit", "move", "trash", "restore", "publish now", "schedule", "look again", "upload by hand"]
        )
    )
    def the_artist_does(self, what: str) -> None:
        self._do(what)

    @rule(what=st.sampled_from(["find urls", "wait long", "no token", "no login"]))
    def something_else_happens(self, what: str) -> None:
        match what:
            case "find urls":
                settling.find_urls()
            case "wait long":
                self.wait(40.0)
            case "no token":  # the refresh brought nothing this time
                self.token_answers = [TokenUnavailable(retry_after_seconds=1)]
            case "no login":  # its answer was lost, and the old token is used up
                self.token_answers = [LoginLost(reason="grant_dead")]

    # --- how it happens ---

    def _let_a_publisher(
        self,
        work_on: Callable[[UUID], None],
        account: int,
        submit: str | None,
        publish: str | None,
        plan: Plan,
    ) -> None:
        gallery = self.galleries[self.accounts[account].pk]
        if submit is not None:
            gallery.submit_answers.append(SUBMIT_ANSWERS[submit]())
        if publish is not None:
            gallery.publish_answers.append(PUBLISH_ANSWERS[publish]())
        self.plan = dict(plan)
        self._work_on(work_on, gallery.account_id)
        self.plan = {}
        gallery.submit_answers.clear()
        gallery.publish_answers.clear()

    def _work_on(self, work_on: Callable[[UUID], None], account_id: UUID) -> None:
        worker = self.worker
        try:
            with self._as_publisher(worker):
                work_on(account_id)
        except Killed:
            Worker.objects.filter(pk=worker).update(alive_until=self.now())
        if not Worker.objects.alive().filter(pk=worker).exists():
            self.worker = self._new_worker()

    def at(self, moment: str) -> None:
        """A publisher has come to ``moment``: whatever was drawn for it happens before it goes on."""
        events, is_killed = self.plan.pop(moment, ([], False))
        on_the_wire = moment == "on_the_wire"
        wire = self.wire_until
        if on_the_wire:
            self.wire_until = self.now() + timedelta(seconds=settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS)
        try:
            for event in events:
                self._meanwhile(event)
        finally:
            self.wire_until = wire
        if is_killed:
            self.killed_at_work.add(self.at_work[-1])
            raise Killed(moment)

    def _meanwhile(self, event: str) -> None:
        match event:
            case "bury":
                self._bury()
            case "other publisher":
                plan, self.plan = self.plan, {}
                worker = self._new_worker()
                for account in self.accounts:
                    with self._as_publisher(worker):
                        publishing.publish_next(account.pk)
                self.plan = plan
            case "wait":
                self.wait(0.6)
            case "wait long":
                self.wait(8.0)
            case _:
                self._do(event)

    def _do(self, what: str) -> None:
        """Something that a person does to the work that was changed last, if that is allowed now."""
        work = Deviation.objects.order_by("-updated_at", "pk").first()
        if work is None:
            return
        with contextlib.suppress(DeviationError):
            match what:
                case "cancel":
                    scheduling.cancel_schedule(work, user=None)
                    self.cancelled.add(work.pk)
                case "trash":
                    trashing.trash_deviation(work, user=None)
                    self.cancelled.add(work.pk)
                case "restore":
                    trashing.restore_deviation(work, user=None)
                case "edit":
                    other = TITLES[(TITLES.index(work.title) + 1) % 2]
                    drafting.edit_deviation(work, user=None, title=other)
                case "move":
                    (other_account,) = (each for each in self.accounts if each.pk != work.account_id)
                    drafting.edit_deviation(work, user=None, account_id=other_account.pk)
                case "publish now":
                    scheduling.publish_now(work, user=None)
                    self.cancelled.discard(work.pk)
                case "schedule":
                    scheduling.schedule_deviation(work, user=None, scheduled_at=self.now() + timedelta(seconds=5))
                    self.cancelled.discard(work.pk)
                case "upload by hand":
                    # The artist's own browser; it looks like the first of the works.
                    gallery = self.galleries[self.accounts[0].pk]
                    gallery.by_hand.add(gallery.show(work.title, picture=b"0").deviation_id)
                case "look again":
                    deciding.look_again(work, user=None)
            if what != "upload by hand":
                # Who does something to a work has seen for which account it is.
                self.account_of[work.pk] = Deviation.objects.values_list("account_id", flat=True).get(pk=work.pk)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)
            self.patches.undo()
            heartbeat._this_worker = None
            with connection.cursor() as cursor:
                cursor.execute("RESET isekai.now")

    def _come_to_rest(self) -> None:
        """All is well again: then each work comes to an end, and its owner can see which."""
        self.token_answers = []
        DeviantArtAccount.objects.update(state="active")
        for _ in range(60):
            if not (Deviation.objects.exclude(status__in=ENDED).exists() or GalleryCheck.objects.pending().exists()):
                break
            rescuing.rescue_stuck()
            restoring.check_galleries()
            for account in self.accounts:
                self._work_on(publishing.publish_next, account.pk)
            self.wait(3.0)
            DeviantArtAccount.objects.update(not_before=None)
        else:
            left = list(Deviation.objects.exclude(status__in=ENDED).values_list("status", "reason_code", "due_at"))
            raise AssertionError(f"never came to an end: {left}")
        for work in Deviation.objects.filter(status__in=["failed", "needs_decision"]):
            assert work.reason_code
            assert AuditEvent.objects.filter(subject_id=work.pk, verb=f"deviation.{work.status}").exists()
            assert Notification.objects.filter(params__deviation_id=str(work.pk)).exists()
        self.every_promise_holds()


@dataclass(frozen=True)
class Backup:
    """What the database was at a moment, as a savepoint, and what the model knew of it then."""

    savepoint: str
    last_attempt_id: int
    works: list[UUID]
    cancelled: set[UUID]
    account_of: dict[UUID, UUID | None]
    mark: marks.Mark
    publish_calls: int


class WriteAtOnce:
    """For marks: what is wanted is written by whoever wants it, as no thread of its own would be the same each time."""

    def __init__(self, _name: str, write: Callable[[], None], *, pause: float) -> None:
        self.want = write


class ForgetfulEngine(Engine):
    """The same, over a database that is put back to an earlier moment, while DeviantArt keeps what it has.

    Each file has a look of its own: what looks alike and has one title is told apart by nobody after that.
    """

    def _begin(self) -> transaction.Atomic:
        self.backup: Backup | None = None
        self.remembered = marks.Mark()
        block = super()._begin()
        restoring.compare_with_mark()
        return block

    def _patch_marks(self) -> None:
        """They are kept in this object, as if it were the bucket."""
        patch = self.patches.setattr
        marks.forget_everything()
        patch(marks, "Writer", WriteAtOnce)
        patch(marks, "_write_to_redis", lambda *_arguments: None)
        patch(marks, "_read_from_redis", lambda _installation: None)
        patch(marks, "_write_to_bucket", lambda _installation, _name, mark: self._remember(mark))
        patch(marks.Keeper, "_read_from_bucket", lambda _keeper: self.remembered)

    def _remember(self, mark: marks.Mark) -> None:
        self.remembered |= mark

    def _look_of(self, body: bytes, look: str) -> str:
        return hashlib.sha256(body).hexdigest()[:16]

    @rule()
    def the_database_is_backed_up(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value FROM publisher_attempt_id_seq")
            last_attempt_id = cursor.fetchone()[0]
        self.backup = Backup(
            transaction.savepoint(),
            last_attempt_id,
            list(self.works),
            set(self.cancelled),
            dict(self.account_of),
            self.remembered,
            self._publish_calls(),
        )

    def _publish_calls(self) -> int:
        return sum(gallery.calls.count("publish") for gallery in self.galleries.values())

    def _is_noticed(self) -> bool:
        """A call that nobody saw the end of is not remembered; a database that forgets nothing else seems whole."""
        assert self.backup is not None
        return self.backup.publish_calls == self._publish_calls() or self.backup.mark != self.remembered

    @precondition(lambda self: self.backup is not None and self._is_noticed())
    @rule(survives=st.booleans())
    def the_backup_is_restored(self, survives: bool) -> None:
        """Under a publisher that ``survives`` and remembers, or before one that has just begun."""
        assert self.backup is not None
        transaction.savepoint_rollback(self.backup.savepoint)
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('publisher_attempt_id_seq', %s)", [self.backup.last_attempt_id])
        self._set_clock()
        self.restores += 1
        self.works, self.cancelled = list(self.backup.works), set(self.backup.cancelled)
        self.account_of = dict(self.backup.account_of)
        if survives:
            # As after a real restore: tables that were made anew are another database to whoever compared.
            marks.keeper().server = "the one before"
            # Before it has looked at all, it must see in its claims that this is so.
            for account in self.accounts:
                self._work_on(publishing.publish_next, account.pk)
                self._work_on(staging.stage_next, account.pk)
            guarding.watch()
        else:
            marks.forget_everything()
            restoring.compare_with_mark()
            self.worker = self._new_worker()

    @rule()
    def the_galleries_are_compared(self) -> None:
        restoring.check_galleries()

    def _come_to_rest(self) -> None:
        super()._come_to_rest()
        live = Publication.objects.live().values("file_id")
        for work in Deviation.objects.kept().exclude(status__in=["published", "needs_decision"]):
            for file in work.files.exclude(pk__in=live):
                made = self.galleries[work.account_id].made_of(self.body_of[file.pk])
                assert not made, "it is live, and nobody was asked"

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            marks.forget_everything()


def search(engine: type[Engine] = Engine) -> None:
    """Look for what is broken under some seeds: which runs one of them draws hangs on the modules that are loaded."""
    for number in range(4):
        seeded = hypothesis_seed(number)(type(engine.__name__, (engine,), {}))
        run(seeded, examples=200, phases=(Phase.generate,))


def run(engine: type[Engine] = Engine, *, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """So many runs of the model, the same ones each time."""
    run_state_machine_as_test(
        engine,
        settings=hypothesis_settings(
            max_examples=examples,
            stateful_step_count=15,
            derandomize=True,
            database=None,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
def test_whatever_happens_in_whatever_order_every_promise_holds():
    run(examples=30)


@pytest.mark.django_db
def test_what_a_database_has_forgotten_is_recognised_or_asked_about_and_never_published_again():
    run(ForgetfulEngine, examples=30)


# --- the model can fail ---------------------------------------------------------------------------------------------


def without_a_fence(patch: pytest.MonkeyPatch) -> None:
    """A publisher whose lease is gone goes on deciding and calling."""
    anybody = "SELECT d.id FROM deviations_deviation d WHERE d.id = %s AND %s::uuid <> %s::uuid FOR UPDATE"
    patch.setattr(evidence, "FENCE", anybody)
    patch.setattr(evidence, "PUBLISH_FENCE", anybody)
    patch.setattr(claiming, "_held", lambda claim: Deviation.objects.filter(pk=claim.deviation_id))


def with_a_new_upload_after_an_unknown_outcome(patch: pytest.MonkeyPatch) -> None:
    """What nobody knows is simply done again from the start."""

    def again(this: Job, publication: Publication) -> bool:
        publication.stash_items.update(state=StashItem.State.ABANDONED)
        publication.item_in_hand = None  # type: ignore[attr-defined]
        return steps.bring_out(this, publication)

    patch.setattr(settling, "settle", again)


def with_a_claim_that_asks_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """Whatever is not out yet is taken, whether its artist wants that or not."""

    def anything(**_options: Any) -> Any:
        in_flight = Deviation.objects.claimed().values("account")
        return Deviation.objects.exclude(status="published").exclude(account__in=in_flight)

    patch.setattr(claiming, "claimable", anything)
    only_the_scheduled = "CASE WHEN status = 'scheduled' THEN 'uploading' ELSE status END"
    assert only_the_scheduled in claiming.CLAIM
    patch.setattr(claiming, "CLAIM", claiming.CLAIM.replace(only_the_scheduled, "'uploading'"))
    patch.setattr(claiming, "_claim_sql", claiming._claim_sql.__wrapped__)


def with_a_title_that_settles(patch: pytest.MonkeyPatch) -> None:
    """Whatever has the title is taken for the work."""

    def first(reader: Any, publication: Publication, *, calls: Any) -> recognising.Recognition:
        since = calls[0].started_at
        alike = recognising._alike(reader, publication, since=since)
        return recognising.Recognition(alike[0].deviation if alike else None, "none")

    patch.setattr(recognising, "recognise", first)


def with_fenced_evidence(patch: pytest.MonkeyPatch) -> None:
    """Who lost its lease does not write down any more what its call did."""

    def fenced(close: Callable[..., Any]) -> Callable[..., Any]:
        def ours(attempt: Attempt, *arguments: Any, **options: Any) -> Any:
            if not Deviation.objects.filter(lease_id=attempt.lease_id).exists():
                raise ClaimLost("too late")
            return close(attempt, *arguments, **options)

        return ours

    for name in ("close_submitted", "close_published", "close_live_before", "close_failed"):
        patch.setattr(evidence, name, fenced(getattr(evidence, name)))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("mutate", "promise"),
    [
        # Often a constraint notices it first.
        (without_a_fence, "published after it was cancelled|violates check constraint|went on all the same"),
        (with_a_new_upload_after_an_unknown_outcome, "a file was published twice"),
        (with_a_claim_that_asks_for_nothing, "published after it was cancelled|violates check constraint"),
        (with_a_title_that_settles, "something counts as published that is not|another one's address"),
        (with_fenced_evidence, "a call ended, and nobody wrote down how"),
    ],
)
def test_the_model_finds_what_is_broken(
    mutate: Callable[[pytest.MonkeyPatch], None], promise: str, monkeypatch: pytest.MonkeyPatch
):
    mutate(monkeypatch)
    with pytest.raises((AssertionError, IntegrityError), match=promise):
        search()


def with_marks_that_nobody_compares(patch: pytest.MonkeyPatch) -> None:
    """A database that has forgotten something is taken for one that knows everything."""
    patch.setattr(marks, "missing", lambda _mark: ())
    for module in (marks, claiming):
        patch.setattr(module, "mark_params", lambda: [None, None, True])


@pytest.mark.django_db
def test_the_model_finds_what_is_broken_after_a_restore(monkeypatch: pytest.MonkeyPatch):
    with_marks_that_nobody_compares(monkeypatch)
    with pytest.raises(AssertionError, match="a file was published twice"):
        search(ForgetfulEngine)
