"""What a run says at its end: every count, zeros too, and for each broken promise whose work it was."""

import json
from collections.abc import Mapping
from typing import Any

from tests.chaos.checker import PROMISES, Verdict, percentiles

TARGET_UNDECIDED = 0.005


def as_json(verdict: Verdict, faults: Mapping[str, int], *, seed: int, healed_seconds: float, short: list[str]) -> str:
    body: dict[str, Any] = {
        "seed": seed,
        **verdict.counts,
        "failed_by_reason": dict(verdict.failed_by_reason),
        "needs_decision_by_reason": dict(verdict.undecided_by_reason),
        "lateness_seconds": {name: round(value, 3) for name, value in percentiles(verdict.lateness)},
        "publish_answers": verdict.publish_answers,
        "publish_answers_lost": {"before_commit": verdict.lost_before, "after_commit": verdict.lost_after},
        "healed_seconds": round(healed_seconds, 1),
        "faults": dict(faults),
        "valid": not short,
    }
    return json.dumps(body)


def as_text(verdict: Verdict, faults: Mapping[str, int], *, healed_seconds: float, bound_seconds: float) -> str:
    counts = verdict.counts
    ends = ("works", "accepted", "published", "failed", "cancelled", "needs_decision", "trashed", "drafts")
    lines = ["", "What became of the works:", *(f"  {name:<16} {counts[name]:>6}" for name in ends)]
    for title, reasons in (("failed", verdict.failed_by_reason), ("needs_decision", verdict.undecided_by_reason)):
        lines += [f"  {title + ': ' + reason:<32} {count:>6}" for reason, count in sorted(reasons.items())]
    share = undecided_share(verdict)
    lines.append(f"  needs_decision is {share:.2%} of accepted without late and restored; the target is below 0.50%")
    lines += ["Promises broken:"]
    lines += [f"  {promise:<16} {counts[promise]:>6}" for promise in PROMISES]
    lines += ["Lateness, from the planned moment to the arrival at DeviantArt:"]
    lines += [f"  {name:<16} {value:>9.2f} s" for name, value in percentiles(verdict.lateness)]
    lost = verdict.lost_before + verdict.lost_after
    lines.append(
        f"Publish answers: {verdict.publish_answers}, of which {lost} were lost: "
        f"{verdict.lost_before} before the commit, {verdict.lost_after} after it."
    )
    lines.append(f"All was at rest {healed_seconds:.1f} s after the last fault; the bound is {bound_seconds:.0f} s.")
    lines += ["Faults:"]
    lines += [f"  {name:<20} {count:>6}" for name, count in faults.items()]
    return "\n".join(lines)


def undecided_share(verdict: Verdict) -> float:
    counted = sum(n for reason, n in verdict.undecided_by_reason.items() if reason not in {"late", "restored"})
    return counted / max(1, verdict.counts["accepted"])
