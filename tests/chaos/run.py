"""A chaos run from its beginning to its verdict. Started by ``./dev chaos``."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isekai.devstack.errors import DevstackError, Interrupted
from isekai.devstack.foreground import signals_interrupt
from isekai.devstack.servers import PostgreSQL, Valkey
from isekai.devstack.throwaway import Throwaway, throwaway_stack
from tests.chaos.kinds import GROUPS, LEAST, Kind, chosen, schedule
from tests.chaos.mutants import MUTANTS, Mutant

if TYPE_CHECKING:
    from tests.chaos.checker import Evidence, Verdict
    from tests.chaos.faults import Striker
    from tests.chaos.load import Artist, Load
    from tests.chaos.system import System

SCALE = 0.1
# After the last fault everything is at rest within a quarter of an hour of production's waits: an open breaker, the
# longest penalty and the longest wait for a token one after the other, with room; and a minute in which processes
# start, which takes as long as ever.
BOUND_SECONDS = 900 * SCALE + 60
# How long after it began a call of publish is certainly over: its deadline and the margin.
REPEAT_SECONDS = 75.0
TICK_SECONDS = 0.1
PROGRESS_SECONDS = 5.0
# On a slow machine a fault may wait for the call that it is to strike.
PATIENCE_SECONDS = 90.0
LEAST_LOST_SHARE = 0.05
# Of each sort: some of the works are never published, and others take more than one call.
PLANNED_LOST_SHARE = 0.035
KEPT, BROKEN, INVALID = 0, 1, 2
# One more of each than is needed: some find nobody to strike.
DEFAULT = Mutant("", "the engine as it is", frozenset(), faults="all", each=LEAST + 2, minutes=2.0, works=0)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        with signals_interrupt(), throwaway_stack() as stack:
            _keep_what_is_committed(stack)
            _set_up(stack)
            return Run(stack, options).go()
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except DevstackError as error:
        print(error, file=sys.stderr)
        return INVALID


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="of load and faults (2)")
    parser.add_argument("--works", type=int, help="how many; without it as many as the time allows")
    parser.add_argument("--artists", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2, help="publisher processes")
    parser.add_argument("--faults", help="kinds and groups by commas; -kind takes one away (all)")
    parser.add_argument("--each", type=int, help=f"how often each kind is planned; below {LEAST} the run is invalid")
    parser.add_argument("--away-seconds", type=float, help="how long Redis is away each time")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--mutant", choices=sorted(MUTANTS), help="an engine that breaks a promise, where it shows")
    which.add_argument("--like", choices=sorted(MUTANTS), help="the conditions of that mutant, and the engine as it is")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run even if all is well")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    options = parser.parse_args(arguments)
    options.conditions = MUTANTS.get(options.mutant or options.like or "", DEFAULT)
    try:
        _complete(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _complete(options: argparse.Namespace) -> None:
    """Fill in what was not said. Raises ValueError, KindUnknown among them."""
    conditions = options.conditions
    options.kinds = chosen(conditions.faults if options.faults is None else options.faults)
    options.seconds = 60 * (options.minutes or conditions.minutes)
    options.works = options.works or conditions.works or min(2000, max(40, round(options.seconds * 1.25)))
    # Ten minutes of production, where the run is long enough for ten times that.
    away = options.away_seconds or min(600 * SCALE, max(3.0, options.seconds / 30))
    each = options.each or conditions.each
    options.planned = schedule(
        options.seed,
        options.kinds,
        seconds=options.seconds,
        each=each,
        oftener=dict.fromkeys(GROUPS["lost"], round(PLANNED_LOST_SHARE * options.works)),
        lasting={"redis_away": away},
    )


def _keep_what_is_committed(stack: Throwaway) -> None:
    """Let PostgreSQL hand each commit to the kernel before it confirms it; a throw-away one forgets the last ones.

    That is what surviving its own death takes. It never waits for the disk, as nobody kills the machine here.
    """
    import psycopg

    with psycopg.connect(stack.variables["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = on")


def _set_up(stack: Throwaway) -> None:
    """This process is a client of the stack, too."""
    from isekai.devstack.environment import without_settings

    for name in set(os.environ) - set(without_settings(os.environ)):
        del os.environ[name]
    os.environ.update(stack.variables)
    os.environ.update(DJANGO_SETTINGS_MODULE="isekai.settings", LOG_LEVEL="ERROR", ISEKAI_TIME_SCALE=str(SCALE))
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)


class Run:
    def __init__(self, stack: Throwaway, options: argparse.Namespace) -> None:
        from tests.chaos.history import History

        self.stack = stack
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="isekai-chaos-"))
        self.history = History(self.folder / "history.jsonl")
        self.history.note("run", seed=options.seed, seconds=options.seconds, mutant=options.mutant, commit=_commit())
        for fault in options.planned:
            self.history.note("planned", at=fault.at, kind=fault.kind.name, seconds=fault.seconds, dice=fault.dice)
        self.began = time.monotonic()
        self.healed_seconds = 0.0

    def go(self) -> int:
        from tests.chaos.system import faketime_library, running_system

        moves_clocks = any(kind.name == "clock_jump" for kind in self.options.kinds)
        if moves_clocks and faketime_library() is None:
            print("chaos: libfaketime is not installed, so clock_jump cannot be done. Leave it out, or install it.")
            return INVALID
        postgres, valkey = (
            next(each for each in self.stack.servers if isinstance(each, kind)) for kind in (PostgreSQL, Valkey)
        )
        assert isinstance(postgres, PostgreSQL)
        assert isinstance(valkey, Valkey)
        with running_system(
            servers=(postgres, valkey),
            folder=self.folder,
            names=self._names(),
            seed=self.options.seed,
            moves_clocks=moves_clocks,
            mutant=self.options.mutant,
        ) as system:
            return self._judge_after(system)

    def _names(self) -> list[str]:
        names = ["web", *["publisher"] * self.options.workers, "worker", "beat"]
        if any(kind.place == "media" for kind in self.options.kinds):
            names.append("media")
        return names

    def _wants_more(self, striker: "Striker") -> bool:
        """Whether what has not found its occasion yet is waited for. A mutant needs all that it can get."""
        enough = self.options.conditions is DEFAULT and not striker.lacks(self.options.kinds, self._least)
        return striker.has_undone() and not enough

    @property
    def _least(self) -> int:
        """How often each kind has to be done, or the run says nothing."""
        conditions = self.options.conditions
        return LEAST if conditions is DEFAULT else conditions.each // 2

    def _judge_after(self, system: "System") -> int:
        from isekai.faults import POINTS
        from tests.chaos.checker import check
        from tests.chaos.faults import Striker
        from tests.chaos.gathering import gather, keep_evidence
        from tests.chaos.load import Load, refresh_tokens_of

        self.say(f"seed {self.options.seed}, {self.options.works} works, the run is in {self.folder}")
        artists = self._make_world(system)
        usernames = [account.username for artist in artists for account in artist.accounts]
        striker = Striker(system, self.history, usernames, self.options.conditions.points or POINTS)
        load = Load(
            system.processes.base_url, artists, system.sandbox, self.history, self.options.seconds, self.options.seed
        )
        self._wait_for_web(system)
        load.start()
        self._rage(system, striker, load)
        load.stop()
        striker.end_all()
        system.sandbox.profile(drawn_faults=[])
        self._rest(system, striker)
        load.end()
        system.retire_ours()
        made = [str(piece.id) for artist in artists for piece in artist.pieces]
        from django.db import connection

        connection.close()  # a server that was killed has forgotten it
        secrets = [system.sandbox.client_secret, *(artist.key for artist in artists), *load.tokens]
        secrets += refresh_tokens_of(artists)
        evidence = gather(system, self.history, made=made, secrets=secrets, repeat_seconds=REPEAT_SECONDS * SCALE)
        verdict = check(evidence)
        keep_evidence(evidence, self.folder)
        return self._conclude(system, evidence, verdict, striker)

    def _make_world(self, system: "System") -> "list[Artist]":
        import random

        from tests.chaos.load import make_artist, make_piece

        # A sandbox that is hard to please: two publishes at once both succeed, and a work shows late in the gallery.
        profile: dict[str, Any] = {
            "wait_scale": SCALE,
            "concurrent_publish": "overlapping_succeed",
            "gallery_delay_seconds": {"0": 4, "1": 4, "3": 2},
            "access_token_seconds": 330,
            "latency_ms": {"*": {"median": 300, "p95": 900, "p99": 3000}},
        }
        system.sandbox.profile(**{**profile, **self.options.conditions.profile})
        dice = random.Random(self.options.seed)
        artists = [make_artist(system.sandbox, number) for number in range(self.options.artists)]
        for number in range(self.options.works):
            artist = artists[number % len(artists)]
            system.keys += make_piece(artist, number, dice, self.history, titles=self.options.conditions.titles)
        return artists

    def _wait_for_web(self, system: "System") -> None:
        import requests

        until = time.monotonic() + 300
        while time.monotonic() < until:
            system.supervise()
            with suppress(requests.RequestException):
                if requests.get(f"{system.processes.base_url}/health", timeout=2).ok:
                    return
            time.sleep(0.2)
        raise DevstackError(f"web did not answer.\n{system.processes.log()[-3000:]}")

    def _rage(self, system: "System", striker: "Striker", load: "Load") -> None:
        """Load and faults, for as long as was asked; what then has not found its occasion yet gets some time more."""
        since = time.monotonic()
        planned, progress = list(self.options.planned), 0.0
        while (spent := time.monotonic() - since) < self.options.seconds + PATIENCE_SECONDS:
            if spent > self.options.seconds and not self._wants_more(striker):
                break
            system.supervise()
            striker.strike_due(planned, since)
            if time.monotonic() > progress:
                progress = time.monotonic() + PROGRESS_SECONDS
                self.progress(system, striker, load)
            time.sleep(TICK_SECONDS)

    def _rest(self, system: "System", striker: "Striker") -> None:
        """Everything is well again: wait until all works have ended, at most for the bound."""
        since = time.monotonic()
        progress = 0.0
        while time.monotonic() - since < BOUND_SECONDS:
            system.supervise()
            striker.strike_due([], since)
            counts = _statuses(system)
            if counts is not None and not set(counts) & {"scheduled", "uploading", "publishing"}:
                break
            if time.monotonic() > progress:
                progress = time.monotonic() + PROGRESS_SECONDS
                self.progress(system, striker, None)
            time.sleep(0.5)
        self.healed_seconds = time.monotonic() - since

    def progress(self, system: "System", striker: "Striker", load: "Load | None") -> None:
        counts = _statuses(system)
        works = " ".join(f"{name} {count}" for name, count in sorted(counts.items())) if counts else "database away"
        answers = f"; {load.answers} answers, {load.unanswered} without" if load else "; at rest"
        self.say(f"{works}{answers}; {sum(striker.done.values())} faults, last {striker.last}")

    def say(self, text: str) -> None:
        print(f"chaos {time.monotonic() - self.began:6.1f} s | {text}", flush=True)

    def _conclude(self, system: "System", evidence: "Evidence", verdict: "Verdict", striker: "Striker") -> int:
        from tests.chaos import report
        from tests.chaos.gathering import timeline

        faults = {kind.name: striker.done[kind.name] for kind in self.options.kinds}
        short = shortcomings(self.options.kinds, faults, verdict, least=self._least)
        code = BROKEN if not verdict.is_kept else INVALID if short else KEPT
        print(report.as_text(verdict, faults, healed_seconds=self.healed_seconds, bound_seconds=BOUND_SECONDS))
        for promise, cases in verdict.broken.items():
            for work, how in cases:
                print(f"BROKEN {promise}: {work} {how}")
        shown = dict.fromkeys(work for cases in verdict.broken.values() for work, _how in cases if work)
        asked = [work.id for work in evidence.rows.works.values() if work.status == "needs_decision"]
        for work in [*list(shown)[:10], *asked[:10]]:
            lines = timeline(evidence, work, system)
            (self.folder / f"work-{work}.txt").write_text("\n".join(lines), encoding="utf-8")
            if work in shown:
                print("\n".join([f"--- {work}", *lines[:120]]))
        for lack in short:
            print(f"INVALID: {lack}")
        if code == KEPT and not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"The history, the logs and the ledger are in {self.folder}")
        if self.options.json:
            print(
                report.as_json(verdict, faults, seed=self.options.seed, healed_seconds=self.healed_seconds, short=short)
            )
        return code


def shortcomings(
    kinds: Sequence[Kind], faults: Mapping[str, int], verdict: "Verdict", *, least: int = LEAST
) -> list[str]:
    """Why a run says nothing; nothing when it is valid."""
    short = [
        f"{kind.name} was done {faults[kind.name]} times of {least}" for kind in kinds if faults[kind.name] < least
    ]
    names = {kind.name for kind in kinds}
    if {"answer_lost_before", "answer_lost_after"} <= names:
        lost = verdict.lost_before + verdict.lost_after
        if lost < LEAST_LOST_SHARE * verdict.publish_answers:
            short.append(f"{lost} of {verdict.publish_answers} publish answers were lost, less than 5 %")
        if min(verdict.lost_before, verdict.lost_after) < 0.25 * lost:
            short.append(f"{verdict.lost_before} were lost before the commit, {verdict.lost_after} after it")
    if not verdict.counts["accepted"]:
        short.append("no work was accepted")
    return short


def _statuses(system: "System") -> dict[str, int] | None:
    import psycopg

    try:
        with system.database() as connection:
            rows: list[Any] = connection.execute(
                "SELECT status, count(*) FROM deviations_deviation GROUP BY status"
            ).fetchall()
    except psycopg.Error:
        return None
    return dict(rows)


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
