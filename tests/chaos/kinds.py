"""The kinds of faults, and the schedule of a run: drawn from its seed alone, so that it can be had again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 10  # of each kind, or the run says nothing


@dataclass(frozen=True, slots=True)
class Kind:
    """``seconds`` is how long one lasts; kinds with the same ``place`` never overlap, as they would undo each other."""

    name: str
    place: str
    seconds: float


PROCESSES = ("web", "publisher", "worker", "beat", "media")
# A process of ours takes some seconds of work to start, and has to be there before it can be hit again.
_RECOVERS = 4.0
# Twice a publisher's lease at a tenth of its time.
STOPPED_SECONDS = 4.0

KINDS = (
    *(Kind(f"kill_{name}", name, _RECOVERS) for name in PROCESSES),
    *(Kind(f"stop_{name}", name, STOPPED_SECONDS + 1) for name in PROCESSES),
    # Its row is ended by somebody else while it works, as after a pause of the whole machine.
    Kind("lease_lost", "publisher", _RECOVERS),
    Kind("kill_at_point", "points", 4.0),
    Kind("stop_at_point", "points", 5.0),
    Kind("redis_restart", "redis", 2.0),
    Kind("redis_flush", "redis", 0.5),
    Kind("redis_away", "redis", 6.0),
    Kind("redis_full", "redis", 3.0),
    Kind("postgres_kill", "postgres", 3.0),
    Kind("postgres_stop", "postgres", 3.0),
    Kind("postgres_full", "postgres", 3.0),
    Kind("postgres_restored", "postgres", 20.0),
    Kind("connections_reset", "postgres", 1.0),
    Kind("s3_503", "s3", 2.0),
    Kind("s3_slow", "s3", 3.0),
    Kind("s3_lost", "s3", 2.0),
    Kind("answer_lost_before", "publish", 1.0),
    Kind("answer_lost_after", "publish", 1.0),
    Kind("publish_stalls", "publish", 1.0),
    Kind("publish_html", "publish", 1.0),
    Kind("submit_lost", "submit", 1.0),
    Kind("rate_limited", "sandbox", 2.0),
    Kind("server_errors", "sandbox", 2.0),
    Kind("block_page", "sandbox", 3.0),
    Kind("refresh_lost", "token", 2.0),
    Kind("revoked", "token", 4.0),
    Kind("clock_jump", "clock", 6.0),
    Kind("two_beats", "beat", 4.0),
    Kind("no_beat", "beat", 6.0),
)
BY_NAME = {kind.name: kind for kind in KINDS}
# Names for several of them.
GROUPS = {
    "all": [kind.name for kind in KINDS],
    # Ten times each in two minutes on a small machine.
    "cheap": [
        "kill_at_point",
        "stop_at_point",
        "redis_restart",
        "redis_flush",
        "connections_reset",
        "postgres_stop",
        "s3_503",
        "answer_lost_before",
        "answer_lost_after",
        "submit_lost",
        "rate_limited",
        "server_errors",
    ],
    "kill": [f"kill_{name}" for name in PROCESSES],
    "stop": [f"stop_{name}" for name in PROCESSES],
    "point": ["kill_at_point", "stop_at_point"],
    "redis": [kind.name for kind in KINDS if kind.place == "redis"],
    "postgres": [kind.name for kind in KINDS if kind.place == "postgres"],
    "s3": [kind.name for kind in KINDS if kind.place == "s3"],
    "lost": ["answer_lost_before", "answer_lost_after"],
    "sandbox": [k.name for k in KINDS if k.place in {"publish", "submit", "sandbox", "token"}],
    "none": [],
}


class KindUnknown(ValueError):
    """A name that is no kind and no group of kinds."""


def chosen(names: str) -> list[Kind]:
    """``kill,redis_flush,-kill_media``: kinds and groups by commas, a minus takes away. Raises KindUnknown."""
    found: dict[str, Kind] = {}
    for name in filter(None, (each.strip() for each in names.split(","))):
        bare = name.removeprefix("-")
        members = GROUPS.get(bare) or ([bare] if bare in BY_NAME else None)
        if members is None and bare not in GROUPS:
            raise KindUnknown(f"There is no kind of fault {bare!r}. Known: {', '.join([*GROUPS, *BY_NAME])}.")
        for member in members or []:
            if name.startswith("-"):
                found.pop(member, None)
            else:
                found[member] = BY_NAME[member]
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come: seconds after the load began, and a number from which it draws its own target."""

    at: float
    kind: Kind
    seconds: float
    dice: int


def schedule(
    seed: int,
    kinds: Sequence[Kind],
    *,
    seconds: float,
    each: int = LEAST,
    oftener: dict[str, int] | None = None,
    lasting: dict[str, float] | None = None,
) -> list[Planned]:
    """``each`` of every kind within ``seconds``, those of one place one after the other.

    ``oftener`` says how many of a kind, where more than ``each``; ``lasting`` how long they last, where not as usual.
    Raises ValueError when the time is too short.
    """
    dice = random.Random(seed)
    planned: list[Planned] = []
    for place in sorted({kind.place for kind in kinds}):
        mine = [
            kind for kind in kinds if kind.place == place for _ in range(max(each, (oftener or {}).get(kind.name, 0)))
        ]
        dice.shuffle(mine)
        lengths = [(lasting or {}).get(kind.name, kind.seconds) for kind in mine]
        spare = seconds - sum(lengths)
        if spare < 0:
            raise ValueError(
                f"{seconds:.0f} s are too short for {each} of each of {', '.join(sorted({k.name for k in mine}))}: "
                f"they take {sum(lengths):.0f} s one after the other."
            )
        pauses = sorted(dice.uniform(0, spare) for _ in mine)
        before = 0.0
        for pause, kind, length in zip(pauses, mine, lengths, strict=True):
            planned.append(Planned(round(pause + before, 2), kind, length, dice.randrange(2**31)))
            before += length
    return sorted(planned, key=lambda fault: fault.at)
