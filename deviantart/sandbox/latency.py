"""How long things take: fixed times, and distributions that are known by a few of their quantiles."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

from deviantart.sandbox.paths import most_specific
from deviantart.sandbox.rules import Rule, either, mapping_of, nested, number

_QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
_SPREAD: Mapping[str, Rule] = {
    "median": number(minimum=0.001),
    "p95": number(minimum=0.001).optional(),
    "p99": number(minimum=0.001),
    "per_mb": number(minimum=0).optional(0),
}
# No draw is further out than one in a thousand: a run shall not hang on a single monstrous wait.
_FURTHEST = 0.999

LATENCIES = mapping_of(
    either(number(minimum=0), nested(_SPREAD)),
    'an object of path: milliseconds, such as {"/stash/publish": 300, "*": {"median": 250, "p95": 900, "p99": 4000}}; '
    "per_mb is added to the median for each MB of the body",
)


def seconds_for(settings: Mapping[str, Any], path: str, *, share: float, megabytes: float) -> float:
    """The time that a call takes by ``latency_ms``; ``share``, from 0 to 1, says where in the distribution."""
    setting = most_specific(settings, path)
    if setting is None:
        return 0.0
    if isinstance(setting, dict):
        return _quantile(setting, share, megabytes) / 1000
    return float(setting) / 1000


def _quantile(spread: Mapping[str, float | None], share: float, megabytes: float) -> float:
    """Log-normal between each two of the known quantiles, and on in the same direction outside of them."""
    normal = NormalDist()
    extra = (spread["per_mb"] or 0) * megabytes
    points: list[tuple[float, float]] = []
    for name, at in _QUANTILES.items():
        if (value := spread[name]) is not None:
            floor = points[-1][1] if points else -math.inf
            points.append((normal.inv_cdf(at), max(floor, math.log(value + extra if name == "median" else value))))
    z = normal.inv_cdf(min(max(share, 1 - _FURTHEST), _FURTHEST))
    after = next((index for index in range(1, len(points)) if z <= points[index][0]), len(points) - 1)
    (left, low), (right, high) = points[after - 1], points[after]
    return math.exp(low + (high - low) * (z - left) / (right - left))
