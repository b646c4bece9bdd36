"""What becomes of 200 works of 20 artists on DeviantArt's bad days: real publishers against the hostile sandbox.

Seeds 1 to 5, one after another; waits at a tenth on both sides. All works of an artist have one title, each has its
own picture, and they fall due within half a minute.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from benchmarks.report import Measurement, report

if TYPE_CHECKING:
    from tests.sandbox_process import SandboxProcess

SEEDS = [int(seed) for seed in os.environ.get("HOSTILE_SEEDS", "1,2,3,4,5").split(",")]
ARTISTS, WORKS_EACH = 20, 10
SPREAD_SECONDS = 30
# Waits of up to a quarter of an hour by the real clock's measure, at a tenth; what is not settled by then is stuck.
BOUND_SECONDS = float(os.environ.get("HOSTILE_BOUND_SECONDS", "420"))
SCALE = "0.1"


def measure() -> Sequence[Measurement]:
    return [line for seed in SEEDS for line in run(seed)]


def run(seed: int) -> Iterator[Measurement]:
    from accounts.models import DeviantArtAccount
    from deviations.models import Deviation
    from publisher.models import Publication
    from tests.processes import Processes
    from tests.sandbox_process import SandboxProcess

    published, failed, undecided = ended = ("published", "failed", "needs_decision")
    with (
        SandboxProcess(app_name="Isekai", seed=seed) as sandbox,
        Processes(sandbox, publisher_lease_seconds=20) as processes,
    ):
        works = make_works(sandbox, seed)
        sandbox.profile(profile="hostile", seed=seed, wait_scale=float(SCALE))
        began = time.monotonic()
        processes.start("publisher", "publisher", "beat", ISEKAI_TIME_SCALE=SCALE, LOG_LEVEL="WARNING")
        ours = Deviation.objects.filter(pk__in=works)
        while ours.exclude(status__in=ended).exists() and time.monotonic() - began < BOUND_SECONDS:
            time.sleep(1)
        took = time.monotonic() - began
        sandbox.profile(profile="quiet")
        ledger = sandbox.ledger()
    found = Counter(ours.values_list("status", flat=True))
    live = Counter(each["sha256"] for each in ledger["deviations"])
    applied = Counter(str(each["fault"]) for each in ledger["requests"] if each.get("fault"))
    reasons = Counter(ours.exclude(reason_code="").values_list("status", "reason_code"))
    yield Measurement(f"seed {seed}: published", found[published], "works")
    yield Measurement(f"seed {seed}: failed", found[failed], "works")
    yield Measurement(f"seed {seed}: undecided", found[undecided], "works")
    yield Measurement(f"seed {seed}: stuck", len(works) - sum(found[status] for status in ended), "works")
    yield Measurement(f"seed {seed}: doubled", sum(count - 1 for count in live.values()), "works")
    without_url = Publication.objects.live().filter(deviation__in=works, url="").count()
    yield Measurement(f"seed {seed}: published without a url", without_url, "works")
    yield Measurement(f"seed {seed}: faults applied", sum(applied.values()), "calls")
    yield Measurement(f"seed {seed}: calls", len(ledger["requests"]), "calls")
    yield Measurement(f"seed {seed}: took", took, "s")
    waiting = Counter(
        DeviantArtAccount.objects.filter(deviations__in=works, not_before__isnull=False)
        .distinct()
        .values_list("not_before_reason", flat=True)
    )
    for reason, count in sorted(waiting.items()):
        yield Measurement(f"seed {seed}: last deferred for {reason}", count, "accounts")
    for (status, reason), count in sorted(reasons.items()):
        yield Measurement(f"seed {seed}: {status}, {reason}", count, "works")


def make_works(sandbox: "SandboxProcess", seed: int) -> list[UUID]:
    from tests.connecting import connected_account
    from tests.publisher.works import make_works as make

    made: list[UUID] = []
    for artist in range(ARTISTS):
        account = connected_account(sandbox, f"artist-{seed}-{artist}")
        for number in range(WORKS_EACH):
            made += make(
                account,
                1,
                title=f"Study {artist}",
                seed=seed * 10_000 + artist * WORKS_EACH + number,
                ahead=timedelta(seconds=SPREAD_SECONDS * number / WORKS_EACH),
            )
    return made


if __name__ == "__main__":
    report(measure)
