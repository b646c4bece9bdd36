"""What a control accepts: each rule checks one JSON value and can say in words what it takes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

REQUIRED = object()


class ControlError(Exception):
    """A control was given something that it does not know; ``field`` names it, ``accepted`` says what it takes."""

    def __init__(self, message: str, *, field: str | None, accepted: Any, status: int = 400) -> None:
        super().__init__(message)
        self.field = field
        self.accepted = accepted
        self.status = status


@dataclass(frozen=True)
class Rule:
    accepted: str
    check: Callable[[Any], bool]
    default: Any = REQUIRED

    def optional(self, default: Any = None) -> "Rule":
        return Rule(self.accepted, self.check, default)


def boolean() -> Rule:
    return Rule("true or false", lambda value: isinstance(value, bool))


def number(*, minimum: float = -math.inf) -> Rule:
    wording = "a number" if minimum == -math.inf else f"a number, at least {minimum:g}"
    return Rule(wording, lambda value: _is_number(value) and value >= minimum)


def integer(*, minimum: int, maximum: int | None = None) -> Rule:
    wording = f"an integer, at least {minimum}" if maximum is None else f"an integer from {minimum} to {maximum}"
    return Rule(
        wording,
        lambda value: _is_number(value) and value == int(value) and minimum <= value <= (maximum or math.inf),
    )


def text(*, pattern: Callable[[str], bool] = bool, wording: str = "a text that is not empty") -> Rule:
    return Rule(wording, lambda value: isinstance(value, str) and pattern(value))


def choice(*values: str) -> Rule:
    return Rule("one of " + ", ".join(values), lambda value: isinstance(value, str) and value in values)


def texts() -> Rule:
    return Rule(
        "a list of texts", lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def anything(wording: str, check: Callable[[Any], bool]) -> Rule:
    return Rule(wording, check)


def either(first: Rule, second: Rule) -> Rule:
    return Rule(f"{first.accepted}, or {second.accepted}", lambda value: first.check(value) or second.check(value))


def nullable(rule: Rule) -> Rule:
    return Rule(f"{rule.accepted}, or null", lambda value: value is None or rule.check(value))


def take(body: Any, rules: Mapping[str, Rule], *, within: str = "") -> dict[str, Any]:
    """Check a JSON object against its rules and fill in what was left out.

    Raises ControlError for the first field that is unknown, missing or has a value that is not accepted.
    """
    prefix = f"{within}." if within else ""
    if not isinstance(body, dict):
        raise ControlError(
            f"{within or 'The body'} must be a JSON object.", field=within or None, accepted=describe(rules)
        )
    for name in body:
        if name not in rules:
            raise ControlError(f"{prefix}{name} is not known.", field=f"{prefix}{name}", accepted=describe(rules))
    taken = {}
    for name, rule in rules.items():
        value = body.get(name, rule.default)
        if value is REQUIRED:
            raise ControlError(f"{prefix}{name} is required.", field=f"{prefix}{name}", accepted=rule.accepted)
        if name in body and not rule.check(value):
            raise ControlError(f"{prefix}{name} is not accepted.", field=f"{prefix}{name}", accepted=rule.accepted)
        taken[name] = value
    return taken


def describe(rules: Mapping[str, Rule]) -> dict[str, str]:
    return {
        name: rule.accepted if rule.default is REQUIRED else f"{rule.accepted} (optional)"
        for name, rule in rules.items()
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
