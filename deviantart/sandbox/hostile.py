"""DeviantArt on its bad days: the settings of the hostile profile.

Nobody has published measurements of the real one; the numbers are guesses from what clients of it report.
"""

from typing import Any

_PUBLISH = {"path": "/stash/publish"}
_SUBMIT = {"path": "/stash/submit"}
_TOKEN = {"path": "/oauth2/token"}
_REFRESH = {"path": "/oauth2/token", "grant_type": "refresh_token"}
_READS = {"path": "/api/v1/oauth2/*", "method": "GET"}


def _either_side(match: dict[str, str], chance: float) -> list[dict[str, Any]]:
    """Every symptom of a lost answer, each before and after the commit: the client must not be able to tell."""
    symptoms: list[dict[str, Any]] = [
        {"do": "status", "status": 500},
        {"do": "status", "status": 502},
        {"do": "html", "status": 504},
        {"do": "blank"},
        {"do": "truncate"},
        {"do": "stall", "seconds": 75},
    ]
    faults = [
        {"match": match, **symptom, "after_commit": committed, "chance": chance}
        for symptom in symptoms
        for committed in (False, True)
    ]
    return [
        *faults,
        {"match": match, "do": "reset_before", "chance": chance},
        {"match": match, "do": "reset_after_commit", "chance": chance},
    ]


HOSTILE: dict[str, Any] = {
    "latency_ms": {
        "/stash/submit": {"median": 1500, "per_mb": 400, "p99": 30_000},
        "/stash/publish": {"median": 1200, "p99": 15_000},
        "*": {"median": 250, "p95": 900, "p99": 4000},
    },
    "bandwidth_bytes_per_second": {"min": 256 * 1024, "max": 8 * 1024 * 1024},
    "early_answer_bytes": 2 * 1024 * 1024,
    "early_answer_outcomes": {"error": 0.03, "nothing": 0.03},
    "gallery_delay_seconds": {"0": 60, "5": 25, "120": 14, "never": 1},
    "drawn_faults": [
        *_either_side(_PUBLISH, 0.008),
        *_either_side(_SUBMIT, 0.006),
        {"match": _SUBMIT, "do": "reset_in_body", "chance": 0.01},
        {"match": _PUBLISH, "do": "status", "status": 400, "error_code": 6, "chance": 0.01},
        {"match": _REFRESH, "do": "reset_after_commit", "chance": 0.005},
        {"match": _TOKEN, "do": "status", "status": 503, "chance": 0.02},
        {"match": _TOKEN, "do": "html", "status": 403, "chance": 0.01},
        {"match": _TOKEN, "do": "status", "status": 429, "chance": 0.01},
        {"match": _READS, "do": "reset_before", "chance": 0.005},
        {"match": _READS, "do": "truncate", "chance": 0.005},
        {"match": _READS, "do": "stall", "seconds": 45, "chance": 0.002},
        {"match": {"path": "*"}, "do": "close_keep_alive", "chance": 0.01},
        {"match": {"path": "*"}, "do": "close_keep_alive", "late": True, "chance": 0.003},
        {"match": {"path": "*"}, "do": "refuse_connections", "seconds": 3, "chance": 0.001},
    ],
    "limits": {},
    "episodes": {
        "overload": {"every_seconds": 2400, "seconds": [30, 120]},
        "maintenance": {"every_seconds": 5400, "seconds": [60, 300]},
        "waf": {"every_seconds": 5400, "seconds": [30, 120]},
        "errors": {"every_seconds": 900, "seconds": [60, 300]},
    },
    "error_chances": {"good": 0.002, "bad": 0.3, "committed": 0.3},
    "oversize": "reset",
    "concurrent_publish": "second_fails",
    "protected_folders": "half_publish",
}
