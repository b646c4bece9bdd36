"""How this DeviantArt behaves: everything that the real one leaves open, or that a test wants to be otherwise."""

# ruff: noqa: RUF009 - _setting is dataclasses.field with its metadata

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from deviantart.sandbox.episodes import EPISODES, ERROR_CHANCES, KINDS
from deviantart.sandbox.faults import DRAWN_FAULTS
from deviantart.sandbox.hostile import HOSTILE
from deviantart.sandbox.latency import LATENCIES
from deviantart.sandbox.limits import LIMITS
from deviantart.sandbox.rules import (
    Rule,
    anything,
    boolean,
    chance,
    choice,
    describe,
    either,
    integer,
    mapping_of,
    nested,
    nullable,
    number,
    take,
    text,
    texts,
)

PROFILES = ("quiet", "hostile")
_NEVER = choice("never")
_DELAYS = mapping_of(
    number(minimum=0), 'an object of seconds, or never: weight, such as {"0": 6, "120": 1, "never": 0.1}'
)
_RANGE = anything(
    'an object {"min": …, "max": …} of numbers, at least 1, drawn for each connection',
    lambda value: (
        isinstance(value, dict)
        and set(value) == {"min", "max"}
        and all(number(minimum=1).check(end) for end in value.values())
        and value["min"] <= value["max"]
    ),
)
_OUTCOMES: Mapping[str, Rule] = {"error": chance().optional(0), "nothing": chance().optional(0)}


def _are_delays(value: Any) -> bool:
    def is_delay(key: str) -> bool:
        return key == "never" or key.replace(".", "", 1).isdecimal()

    return (
        isinstance(value, dict)
        and all(is_delay(key) for key in value)
        and all(number(minimum=0).check(weight) for weight in value.values())
        and sum(value.values()) > 0
    )


def _setting(rule: Rule, default: Any, meaning: str) -> Any:
    metadata = {"rule": rule, "meaning": meaning}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Profile:
    """The defaults are the quiet profile: no fault, no wait, no limit."""

    profile: str = _setting(
        choice(*PROFILES),
        "quiet",
        "Sets everything that the hostile profile changes: to its values, or back to the defaults. Settings that are "
        "named beside it win.",
    )
    seed: int = _setting(
        integer(minimum=0), 1, "What all chance is drawn from. Naming it, also the same, begins everything anew."
    )

    # How long things take.
    latency_ms: dict[str, Any] = _setting(
        LATENCIES, {}, "How long a call takes, by path; `*` stands for any characters. A distribution is drawn from."
    )
    bandwidth_bytes_per_second: Any = _setting(
        nullable(either(number(minimum=1), _RANGE)),
        None,
        "How fast each connection may send its body; null is unlimited.",
    )
    wait_scale: float = _setting(
        number(minimum=0), 1, "Factor of all real waits: latencies, stalls, transfers; 0.1 is ten times faster."
    )
    early_answer_bytes: int | None = _setting(
        nullable(integer(minimum=0)),
        None,
        "Uploads of at least this size are answered early: 200, chunked, a space a second until the outcome is known.",
    )
    early_answer_outcomes: dict[str, Any] = _setting(
        nested(_OUTCOMES),
        {"error": 0, "nothing": 0},
        "How likely an early answer ends with error JSON (nothing was kept) or with nothing (the item exists).",
    )
    gallery_delay_seconds: Any = _setting(
        either(either(number(minimum=0), _NEVER), replace(_DELAYS, check=_are_delays)),
        0,
        "Virtual seconds until a work shows in the lists; with weights it is drawn for each work.",
    )

    # What goes wrong.
    drawn_faults: list[Any] = _setting(DRAWN_FAULTS, [], "Faults by chance.")
    limits: dict[str, Any] | None = _setting(
        LIMITS,
        None,
        "Leaky buckets for users, applications and addresses, with a penalty that grows while a blocked one calls; "
        "null is no limit, {} the start values. `steps` change a bucket at virtual seconds after the limits were set.",
    )
    retry_after: str = _setting(
        choice("none", "seconds", "http_date", "absurd"), "none", "The Retry-After header of 429 and 503."
    )
    rate_limit_error_code: bool = _setting(boolean(), False, "429 also says `error_code: 429` in its body.")
    episodes: dict[str, Any] = _setting(
        EPISODES,
        dict.fromkeys(KINDS),
        "Bad times for everybody, at drawn virtual moments: every so many seconds on average, for a drawn duration. "
        "waf: the block page; maintenance: 503, JSON then HTML; overload: 429; errors: the bad state of error_chances.",
    )
    error_chances: dict[str, Any] = _setting(
        ERROR_CHANCES,
        {"good": 0.0, "bad": 0.3, "committed": 0.0},
        "How likely a call ends with 500 in good times, and with 500, 502 or 504 in an episode of errors; `committed` "
        "is the share of those that did what was asked.",
    )
    extra_key_chance: float = _setting(chance(), 0.1, "How often a successful body has a key that nobody knows.")

    # Tokens and who may do what.
    access_token_seconds: float = _setting(number(minimum=1), 3600, "Life of an access token.")
    refresh_token_seconds: float = _setting(number(minimum=1), 90 * 86400, "Life of a refresh token.")
    refresh_expiry: str = _setting(
        choice("rotation", "grant"), "rotation", "What the life of a refresh token is counted from."
    )
    refresh_grace_seconds: float = _setting(
        number(minimum=0), 0, "How long a refresh token that was used still gives a new pair."
    )
    refresh_error: str = _setting(
        choice("invalid_request", "invalid_grant"), "invalid_request", "The `error` of a refused refresh."
    )
    access_after_refresh: str = _setting(
        choice("lives", "dies"), "lives", "What becomes of the old access token when its pair is refreshed."
    )
    strict_reuse: bool = _setting(
        boolean(), False, "Using a refresh token twice ends every token of that authorisation."
    )
    code_seconds: float = _setting(number(minimum=1), 60, "Life of an authorisation code.")
    grant_scopes: list[str] | None = _setting(
        nullable(texts()), None, "Grant no more than these scopes; null grants what is asked for."
    )
    unknown_scope: str = _setting(
        choice("pass_over", "refuse"), "pass_over", "What asking for a scope that DeviantArt does not have does."
    )
    missing_scope_status: int = _setting(
        anything("403 or 401", lambda value: value in {403, 401}), 403, "The status of a call that lacks a scope."
    )
    suspended_user: str = _setting(
        choice("token_ends", "unverified_account", "publish_fails"),
        "token_ends",
        "What a suspended user's calls get: 401 as if the token had expired (and no refresh), 403 unverified_account, "
        "or only publish fails, with code 6.",
    )
    auto_approve: bool = _setting(
        boolean(), False, "The authorize page allows at once; `&username=` in its URL chooses the user."
    )
    auto_approve_username: str | None = _setting(
        nullable(text()), None, "Who allows when the URL names nobody; null is the user who came first."
    )

    # What submit and publish take.
    tags: str = _setting(
        choice("strip", "refuse"), "strip", "What happens to characters in a tag other than letters, digits, _."
    )
    tag_max_length: int | None = _setting(nullable(integer(minimum=1)), None, "A longer tag is refused.")
    too_many_tags: str = _setting(choice("refuse", "cut"), "refuse", "What happens to more than 30 tags.")
    title_limit: str = _setting(choice("cut", "refuse", "allow"), "cut", "What happens to a title over 50.")
    title_limit_unit: str = _setting(choice("characters", "bytes"), "characters", "What a title is counted in.")
    title_characters: str = _setting(
        choice("any", "website"), "any", "Which characters a title may have: any, or the few that the website takes."
    )
    description: str = _setting(
        choice("keep", "strip_html"), "keep", "What becomes of HTML in a description: kept as text, or removed."
    )
    policies: str = _setting(
        choice("enforced", "ignored"), "enforced", "Whether an unaccepted policy refuses a publish, codes 0 and 1."
    )
    is_mature: str = _setting(choice("required", "optional"), "required", "Whether publish needs `is_mature`.")
    legacy_categories: bool = _setting(boolean(), False, "Judge `catpath` as of old: codes 2 and 3.")
    videos: str = _setting(
        choice("refuse", "publish"),
        "refuse",
        "Publishing a video: code 8, as for all that is no picture, or success.",
    )
    max_file_bytes: int = _setting(integer(minimum=1), 200 * 1024 * 1024, "A larger upload is refused.")
    oversize: str = _setting(
        choice("error", "reset"), "error", "How: with 200 and an error, or by a reset as soon as it is too much."
    )
    duplicate_files: str = _setting(
        choice("accept", "refuse"), "accept", "Submitting a file that the user has published already."
    )
    item_lifetime_seconds: float | None = _setting(
        nullable(number(minimum=0)), None, "After this an unpublished item is gone, code 7; null keeps it for ever."
    )
    second_publish: str = _setting(
        choice("code_9", "code_6", "code_7", "server_error", "same_answer"),
        "code_9",
        "What publishing a published item gets: code 9, another code, 500, or the first answer again.",
    )
    concurrent_publish: str = _setting(
        choice("one_wins", "second_fails", "both_succeed", "overlapping_succeed"),
        "one_wins",
        "Two publishes of one item: the later gets what second_publish says; or 500 when they overlap; or makes a "
        "second deviation when they overlap or when the answer to the earlier one was lost; or only when they overlap.",
    )
    protected_folders: str = _setting(
        choice("publish", "half_publish"),
        "publish",
        "Publishing into a folder for watchers or subscribers: success, or 500 and a work that shows in the lists but "
        "has no page until it is moved.",
    )
    daily_quota: int | None = _setting(
        nullable(integer(minimum=0)), None, "Works a user may publish in a UTC day; null is no limit."
    )
    quota_answer: str = _setting(
        choice("code_6", "new_code"),
        "code_6",
        "How a reached quota is told: code 6 with words of its own, or code 10, which is in no list.",
    )

    # What the reads show.
    gallery_order: str = _setting(
        choice("newest", "unordered"), "newest", "The order of the lists of works: newest first, or none."
    )
    removed_endpoints: str = _setting(
        choice("not_found", "empty"), "not_found", "The stash endpoints that are gone: 404, or 200 and {}."
    )

    def changed(self, values: Any) -> "Profile":
        """This profile with some settings replaced. Raises ControlError for what is not accepted."""
        optional = {name: rule.optional(getattr(self, name)) for name, rule in RULES.items()}
        taken = take(values, optional)
        if "profile" in values:
            preset = HOSTILE if values["profile"] == "hostile" else {name: getattr(Profile(), name) for name in HOSTILE}
            taken |= {name: RULES[name].taken(value, name) for name, value in preset.items() if name not in values}
        return replace(self, **taken)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


RULES: Mapping[str, Rule] = {entry.name: entry.metadata["rule"] for entry in fields(Profile)}


def documentation() -> dict[str, dict[str, Any]]:
    """Every setting with its default, what it accepts and what it does."""
    defaults = Profile().as_json()
    accepted = describe(RULES)
    return {
        entry.name: {
            "default": defaults[entry.name],
            "accepted": accepted[entry.name],
            "meaning": entry.metadata["meaning"],
            **({"hostile": HOSTILE[entry.name]} if entry.name in HOSTILE else {}),
        }
        for entry in fields(Profile)
    }
