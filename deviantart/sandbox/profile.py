"""How this DeviantArt behaves: everything that the real one leaves open, or that a test wants to be otherwise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from deviantart.sandbox.rules import (
    Rule,
    anything,
    boolean,
    choice,
    describe,
    either,
    integer,
    nullable,
    number,
    take,
    text,
    texts,
)

_MILLISECONDS = anything(
    'an object of path: milliseconds, such as {"/stash/publish": 300, "*": 20}',
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(path, str) and number(minimum=0).check(wait) for path, wait in value.items())
    ),
)


def _about(rule: Rule, meaning: str) -> dict[str, Any]:
    return {"rule": rule, "meaning": meaning}


@dataclass(frozen=True)
class Profile:
    """The quiet profile: its defaults inject no fault and no wait."""

    seed: int = field(default=1, metadata=_about(integer(minimum=0), "What all randomness is drawn from."))
    latency_ms: dict[str, float] = field(
        default_factory=dict,
        metadata=_about(_MILLISECONDS, "How long a call takes, by path; `*` stands for any characters."),
    )
    bandwidth_bytes_per_second: float | None = field(
        default=None,
        metadata=_about(nullable(number(minimum=1)), "How fast each connection may send its body; null is unlimited."),
    )
    gallery_delay_seconds: float | str = field(
        default=0,
        metadata=_about(
            either(number(minimum=0), choice("never")), "Virtual seconds until a work shows in the gallery lists."
        ),
    )
    access_token_seconds: float = field(default=3600, metadata=_about(number(minimum=1), "Life of an access token."))
    refresh_token_seconds: float = field(
        default=90 * 86400, metadata=_about(number(minimum=1), "Life of a refresh token.")
    )
    code_seconds: float = field(default=60, metadata=_about(number(minimum=1), "Life of an authorisation code."))
    strict_reuse: bool = field(
        default=False, metadata=_about(boolean(), "Using a refresh token twice ends every token of that authorisation.")
    )
    grant_scopes: list[str] | None = field(
        default=None,
        metadata=_about(nullable(texts()), "Grant no more than these scopes; null grants what is asked for."),
    )
    auto_approve: bool = field(
        default=False,
        metadata=_about(boolean(), "The authorize page allows at once; `&username=` in its URL chooses the user."),
    )
    auto_approve_username: str | None = field(
        default=None,
        metadata=_about(nullable(text()), "Who allows when the URL names nobody; null is the user who came first."),
    )
    tags: str = field(
        default="strip",
        metadata=_about(
            choice("strip", "refuse"), "What happens to characters in a tag other than letters, digits, _."
        ),
    )
    title_limit: str = field(
        default="cut", metadata=_about(choice("cut", "refuse", "allow"), "What happens to a title over 50.")
    )
    title_limit_unit: str = field(
        default="characters", metadata=_about(choice("characters", "bytes"), "What a title is counted in.")
    )
    concurrent_publish: str = field(
        default="one_wins",
        metadata=_about(
            choice("one_wins", "both_succeed"),
            "Two publishes of one item: the later gets code 9, or makes a second deviation when they overlap or when "
            "the answer to the earlier one was lost.",
        ),
    )
    daily_quota: int | None = field(
        default=None,
        metadata=_about(
            nullable(integer(minimum=0)), "Works a user may publish in a UTC day, then code 6; null is no limit."
        ),
    )
    legacy_categories: bool = field(
        default=False, metadata=_about(boolean(), "Judge `catpath` as of old: codes 2 and 3.")
    )
    videos: str = field(
        default="refuse",
        metadata=_about(
            choice("refuse", "publish"), "Publishing a video: code 8, as for all that is no picture, or success."
        ),
    )
    max_file_bytes: int = field(
        default=200 * 1024 * 1024,
        metadata=_about(integer(minimum=1), "A larger upload is answered with 200 and an error."),
    )
    extra_key_chance: float = field(
        default=0.1,
        metadata=_about(
            anything("a number from 0 to 1", lambda value: number(minimum=0).check(value) and value <= 1),
            "How often a successful body has a key that nobody knows.",
        ),
    )

    def changed(self, values: Any) -> "Profile":
        """This profile with some settings replaced. Raises ControlError for what is not accepted."""
        optional = {name: rule.optional(getattr(self, name)) for name, rule in RULES.items()}
        return replace(self, **take(values, optional))

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
        }
        for entry in fields(Profile)
    }
