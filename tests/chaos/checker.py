"""What a run has kept of the promise: a pure function of what the world saw, what was answered, and what is stored.

Nothing here looks anything up. Times are Unix seconds by the clock of the machine, which the database and the sandbox
share; the processes' own clocks may have been moved.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.chaos.history import KEPT, Action, Said, Struck

EARLY_SECONDS = 1.0
ENDED = frozenset({"published", "failed", "needs_decision"})
RESTING = frozenset({"draft", "review"})


# --- what there is to judge by ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class File:
    """``sha256`` is of the original, ``publish_sha256`` of what DeviantArt is to get."""

    id: str
    key: str
    sha256: str
    publish_sha256: str


@dataclass(frozen=True, slots=True)
class Work:
    """A row as it is at the end; ``status`` *missing* where there is none."""

    id: str
    workspace: str
    status: str
    reason: str = ""
    account: str | None = None
    title: str = ""
    stash_only: bool = False
    is_trashed: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A publication's row."""

    work: str
    file: str
    state: str
    account: str
    deviationid: str | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A notification: to whom, of what kind, about what."""

    workspace: str
    kind: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    works: Mapping[str, Work]
    parts: Sequence[Part] = ()
    told: Sequence[Told] = ()
    audited: frozenset[tuple[str, str]] = frozenset()
    """(work, verb) of every audit event."""
    remembered: frozenset[str] = frozenset()
    """Ids of deviations that stand in an attempt or a publication."""
    usernames: Mapping[str, str] = field(default_factory=dict)
    """Of the accounts."""
    workspaces: Mapping[str, str] = field(default_factory=dict)
    """Of the accounts, too."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is judged.

    ``stored`` is the digest of each object that storage has; ``leaks`` are sightings of secrets.
    """

    ledger: Mapping[str, Sequence[Mapping[str, Any]]]
    actions: Sequence[Action]
    struck: Sequence[Struck]
    rows: Rows
    stored: Mapping[str, str]
    leaks: Sequence[str] = ()
    repeat_seconds: float = 7.5
    """After so long a call is certainly over, and may be made again without having been looked for."""


# --- what is found ---------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Verdict:
    """``broken``: by promise, which works broke it and how; every promise is there, kept ones with nothing."""

    counts: dict[str, int]
    broken: dict[str, list[tuple[str, str]]]
    failed_by_reason: Counter[str]
    undecided_by_reason: Counter[str]
    lateness: list[float]
    publish_answers: int = 0
    lost_before: int = 0
    lost_after: int = 0

    @property
    def is_kept(self) -> bool:
        return not any(self.broken.values())


PROMISES = (
    "lost",  # INV-1
    "doubled",  # INV-2
    "blind_repeats",  # INV-3
    "early",  # INV-4
    "after_cancel",  # INV-4
    "cross_owner",  # INV-5
    "stale",  # INV-5: words, time or account of before an accepted change
    "stuck",  # INV-6 and INV-10
    "unreported",  # INV-7
    "untrue",  # INV-7: the row says something else than the gallery
    "forgotten",  # INV-7: an answer that came is not written down, though its process lived
    "bytes",  # INV-8
    "secrets",  # INV-9
)


def check(evidence: Evidence) -> Verdict:
    """Judge a run that has come to rest."""
    return _Judge(evidence).verdict()


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Wishes:
    """What was asked for one work, and what may have been in force at any moment.

    An answered change is in force from its answer on, may be from when it was sent. One without an answer, and one that
    a restored database may have forgotten, may be in force or not from then on.
    """

    def __init__(self, actions: Iterable[Action], struck: Sequence[Struck], *, before: Said) -> None:
        self.actions = sorted(actions, key=lambda action: action.sent)
        self._restored = [(each.since or each.at, each.at) for each in struck if each.kind == "postgres_restored"]
        self._before = before

    @property
    def is_accepted(self) -> bool:
        """Whether its scheduling was ever confirmed."""
        return any(action.is_accepted and action.said.publish_at not in {None, KEPT} for action in self.actions)

    def is_forgotten(self, action: Action, at: float) -> bool:
        """Whether a database older than it was put back before ``at``."""
        answered = action.answered or action.sent
        return any(answered >= taken and action.sent <= back <= at for taken, back in self._restored)

    def times(self, at: float) -> set[float | None]:
        """The moments for which it may be scheduled at ``at``; None among them: it may be not scheduled at all."""
        return self._possible(at, lambda said: () if said.publish_at == KEPT else (said.publish_at,))

    def titles(self, at: float) -> set[str]:
        return self._possible(at, lambda said: () if said.title is None else (said.title,))

    def accounts(self, at: float) -> set[str]:
        return self._possible(at, lambda said: () if said.account is None else (said.account,))

    def _possible(self, at: float, read: Any) -> set[Any]:
        found = set(read(self._before))
        for action in self.actions:
            if action.sent > at:
                break
            values = set(read(action.said))
            if not values:
                continue
            if action.is_accepted and (action.answered or at) <= at and not self.is_forgotten(action, at):
                found = values
            elif action.is_accepted or action.is_unknown:
                found |= values
        return found


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.rows = evidence.rows
        self.broken: dict[str, list[tuple[str, str]]] = {promise: [] for promise in PROMISES}
        by_work: dict[str, list[Action]] = defaultdict(list)
        for action in evidence.actions:
            by_work[action.work].append(action)
        self.wishes = {
            work.id: Wishes(by_work[work.id], evidence.struck, before=_before(by_work[work.id], work))
            for work in self.rows.works.values()
        }
        self.file_of = {file.publish_sha256: (work, file) for work in self.rows.works.values() for file in work.files}
        self.live = [each for each in evidence.ledger["deviations"] if not each["is_deleted"] and not each["seeded"]]
        self.live_shas = Counter(str(each["sha256"]) for each in self.live)
        self.items = evidence.ledger["items"]
        self.calls = [each for each in evidence.ledger["requests"] if each["path"].endswith("/stash/publish")]
        self.arrived = {each["deviationid"]: moment(each["time"]) for each in self.calls if each["deviationid"]}
        self.ever = {work for work, wishes in self.wishes.items() if wishes.is_accepted}
        self.lateness: list[float] = []

    def verdict(self) -> Verdict:
        self._doubled()
        self._each_deviation()
        self._each_work()
        self._blind_repeats()
        self._forgotten()
        self._bytes()
        self.broken["secrets"] = [("", leak) for leak in self.evidence.leaks]
        accepted = [self.rows.works[work] for work in self.ever]
        unanswered = [call for call in self.calls if _answer_was_lost(call)]
        return Verdict(
            counts=self._counts(accepted),
            broken=self.broken,
            failed_by_reason=Counter(work.reason for work in accepted if work.status == "failed"),
            undecided_by_reason=Counter(work.reason for work in accepted if work.status == "needs_decision"),
            lateness=sorted(self.lateness),
            publish_answers=len(self.calls),
            lost_before=sum(not call["committed"] for call in unanswered),
            lost_after=sum(bool(call["committed"]) for call in unanswered),
        )

    def _counts(self, accepted: Sequence[Work]) -> dict[str, int]:
        kept = [work for work in accepted if not work.is_trashed]
        status = Counter(work.status for work in kept)
        return {
            "works": len(self.rows.works),
            "accepted": len(accepted),
            "published": status["published"],
            "failed": status["failed"],
            "cancelled": sum(status[each] for each in RESTING),
            "needs_decision": status["needs_decision"],
            "trashed": len(accepted) - len(kept),
            "drafts": sum(work.status in RESTING and work.id not in self.ever for work in self.rows.works.values()),
            **{promise: len(self.broken[promise]) for promise in PROMISES},
        }

    def _break(self, promise: str, work: str, how: str) -> None:
        self.broken[promise].append((work, how))

    # --- INV-2 -------------------------------------------------------------------------------------------------------
    def _doubled(self) -> None:
        for sha256, count in self.live_shas.items():
            if count > 1:
                work, _file = self.file_of.get(sha256, (None, None))
                where = ", ".join(str(each["deviationid"]) for each in self.live if each["sha256"] == sha256)
                self._break("doubled", work.id if work else "", f"{count} deviations of one file: {where}")
        for work in self.rows.works.values():
            if work.stash_only:
                for file in work.files:
                    # Items that never were published are invisible; only for these works they are the result.
                    count = sum(item["sha256"] == file.publish_sha256 and item["delivered"] for item in self.items)
                    if count > 1:
                        self._break("doubled", work.id, f"{count} items of one file of a work for the stash alone")

    # --- INV-4 and INV-5 ---------------------------------------------------------------------------------------------
    def _each_deviation(self) -> None:
        for deviation in self.live:
            owner = self.file_of.get(str(deviation["sha256"]))
            if owner is None:
                self._break("cross_owner", "", f"{deviation['deviationid']} has bytes that no work of ours has")
                continue
            work, _file = owner
            at = self.arrived.get(deviation["deviationid"], moment(deviation["published_at"]))
            self._judge_owner(work, deviation, at)
            self._judge_time(work, deviation, at)

    def _judge_owner(self, work: Work, deviation: Mapping[str, Any], at: float) -> None:
        username, wishes = deviation["username"], self.wishes[work.id]
        allowed = {
            self.rows.usernames[account]
            for account, workspace in self.rows.workspaces.items()
            if workspace == work.workspace
        }
        if username not in allowed:
            self._break("cross_owner", work.id, f"{deviation['deviationid']} is in the gallery of {username}")
            return
        item = next((item for item in self.items if item["itemid"] == deviation["itemid"]), None)
        if item is not None and item["username"] != username:
            self._break("cross_owner", work.id, f"{username} published an item of {item['username']}")
        accounts = {self.rows.usernames.get(account) for account in wishes.accounts(at)}
        if accounts and username not in accounts:
            self._break("stale", work.id, f"went to {username}, when it was for {accounts}")
        titles = {title[:50] for title in wishes.titles(at)}
        if titles and deviation["title"] not in titles:
            self._break("stale", work.id, f"is called {deviation['title']!r}, when it was to be called {titles}")

    def _judge_time(self, work: Work, deviation: Mapping[str, Any], at: float) -> None:
        wishes = self.wishes[work.id]
        possible = wishes.times(at)
        moments = [each for each in possible if each is not None]
        if not moments:
            self._break("after_cancel", work.id, f"{deviation['deviationid']} was asked for at {at:.3f}")
            return
        earliest = min(moments)
        if at < earliest - EARLY_SECONDS:
            self._break("early", work.id, f"{earliest - at:.2f} s before {earliest:.3f}")
        elif not work.stash_only:
            self.lateness.append(at - max((each for each in moments if each <= at + EARLY_SECONDS), default=earliest))

    # --- INV-1, INV-6, INV-7 -----------------------------------------------------------------------------------------
    def _each_work(self) -> None:
        parts: dict[str, list[Part]] = defaultdict(list)
        for part in self.rows.parts:
            parts[part.work].append(part)
        for work in self.rows.works.values():
            self._judge_end(work)
            self._judge_truth(work, parts[work.id])
            if work.status in {"failed", "needs_decision"}:
                self._judge_report(work)

    def _judge_end(self, work: Work) -> None:
        wishes = self.wishes[work.id]
        if work.status == "missing":
            if work.id in self.ever:
                self._break("lost", work.id, "its row is gone")
        elif work.status not in ENDED | RESTING:
            self._break("stuck", work.id, f"{work.status} {work.reason}")
        elif work.status in RESTING and work.id in self.ever and None not in wishes.times(float("inf")):
            self._break("lost", work.id, f"{work.status}, though nobody has cancelled it")

    def _judge_truth(self, work: Work, parts: Sequence[Part]) -> None:
        live = {file.id for file in work.files if self.live_shas[file.publish_sha256]}
        if work.status == "published":
            self._judge_published(work, live)
        elif work.status == "failed" and live and (work.reason != "partial" or len(live) == len(work.files)):
            self._break("untrue", work.id, f"failed ({work.reason}), but {len(live)} of {len(work.files)} are live")
        elif work.status in RESTING and live:
            self._break("untrue", work.id, f"{work.status}, but {len(live)} of {len(work.files)} are live")
        where = {str(each["deviationid"]): str(each["sha256"]) for each in self.live}
        shas = {file.id: file.publish_sha256 for file in work.files}
        for part in parts:
            if part.deviationid and where.get(part.deviationid) != shas.get(part.file):
                self._break("untrue", work.id, f"says that {part.deviationid} is its own, which it is not")

    def _judge_published(self, work: Work, live: set[str]) -> None:
        if work.stash_only:
            stashed = {item["sha256"] for item in self.items}
            absent = [file for file in work.files if file.publish_sha256 not in stashed]
        else:
            absent = [file for file in work.files if file.id not in live]
        if absent:
            self._break("lost", work.id, f"published, but {len(absent)} of {len(work.files)} files are not there")

    def _judge_report(self, work: Work) -> None:
        if not work.reason:
            self._break("unreported", work.id, f"{work.status} without a reason")
        told = any(
            note.workspace == work.workspace
            and (note.params.get("deviation_id") == work.id or note.kind.startswith("works_"))
            for note in self.rows.told
        )
        if not told:
            self._break("unreported", work.id, f"{work.status} ({work.reason}), and nobody was told")
        if (work.id, f"deviation.{work.status}") not in self.rows.audited:
            self._break("unreported", work.id, f"{work.status} ({work.reason}) without an audit event")

    # --- INV-3 -------------------------------------------------------------------------------------------------------
    def _blind_repeats(self) -> None:
        """After a publish call whose answer was lost: a look, or the same item after the deadline; never a new item."""
        doubtful: dict[tuple[str, str], Mapping[str, Any]] = {}
        for call in self.evidence.ledger["requests"]:
            owner, sha256 = call["username"], call["sha256"] or self._sha_of(call["itemid"])
            if call["path"].endswith("/gallery/all"):
                doubtful = {key: before for key, before in doubtful.items() if key[0] != owner}
            elif sha256 is None:
                continue
            elif call["path"].endswith("/stash/submit") and (owner, sha256) in doubtful:
                self._repeated(doubtful[owner, sha256], call, "was uploaded again")
            elif call["path"].endswith("/stash/publish"):
                before = doubtful.pop((owner, sha256), None)
                if before is not None and _apart(before, call) < self.evidence.repeat_seconds:
                    self._repeated(before, call, f"was repeated after {_apart(before, call):.1f} s")
                if _answer_was_lost(call):
                    doubtful[owner, sha256] = call

    def _repeated(self, before: Mapping[str, Any], call: Mapping[str, Any], how: str) -> None:
        work, _file = self.file_of.get(call["sha256"] or self._sha_of(call["itemid"]) or "", (None, None))
        self._break("blind_repeats", work.id if work else "", f"request {before['id']} {how} by {call['id']}")

    def _sha_of(self, itemid: int | None) -> str | None:
        return next((str(item["sha256"]) for item in self.items if item["itemid"] == itemid), None)

    # --- evidence ----------------------------------------------------------------------------------------------------
    def _forgotten(self) -> None:
        """What came back is kept, whatever became of the lease; only death and a lost database may take it away."""
        deaths = [each.at for each in self.evidence.struck if each.kind.startswith(("kill_", "stop_", "postgres_"))]
        known = self.rows.remembered | {part.deviationid for part in self.rows.parts}
        for call in self.calls:
            if (
                call["status"] != 200
                or not call["delivered"]
                or call["deviationid"] in known
                or not call["deviationid"]
            ):
                continue
            answered = moment(call["ended_at"] or call["time"])
            if any(moment(call["time"]) - 1 <= death <= answered + 5 for death in deaths):
                continue
            work, _file = self.file_of.get(str(call["sha256"]), (None, None))
            # What a dump that was put back does not have is found out again, or a person is asked about it.
            if work and work.status == "needs_decision" and self._is_older_dump_put_back_after(answered):
                continue
            self._break("forgotten", work.id if work else "", f"the answer to request {call['id']}")

    def _is_older_dump_put_back_after(self, at: float) -> bool:
        restored = [each for each in self.evidence.struck if each.kind == "postgres_restored"]
        return any((each.since or each.at) <= at <= each.at for each in restored)

    # --- INV-8 -------------------------------------------------------------------------------------------------------
    def _bytes(self) -> None:
        for work in self.rows.works.values():
            for file in work.files:
                found = self.evidence.stored.get(file.key)
                if found != file.sha256:
                    self._break("bytes", work.id, f"{file.key} is {'gone' if found is None else 'changed'}")


def _before(actions: Sequence[Action], work: Work) -> Said:
    """What was so before the first change: what the first entry, *made*, says; the row itself where there is none."""
    made = next((action for action in actions if action.name == "made"), None)
    return made.said if made is not None else Said(None, work.title, work.account)


def _answer_was_lost(call: Mapping[str, Any]) -> bool:
    """Whether whoever asked cannot know what became of it: no answer, a server's error, or an answer cut short."""
    status = call["status"]
    if status is None or status >= 500 or call["fault"] in {"blank", "truncate"}:
        return True
    return status < 300 and not call["delivered"]


def _apart(first: Mapping[str, Any], then: Mapping[str, Any]) -> float:
    return moment(then["time"]) - moment(first["time"])


def percentiles(values: Sequence[float]) -> Iterator[tuple[str, float]]:
    """The least, the median, the upper ends and the most of sorted values; nothing of nothing."""
    if not values:
        return
    for name, share in (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        yield name, values[min(len(values) - 1, int(share * len(values)))]
