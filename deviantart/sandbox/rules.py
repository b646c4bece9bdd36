"""What a control accepts: each rule checks one JSON value and can say in words what it takes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
    """``accepted`` is a sentence, or for an object what each of its fields takes.

    ``parse``, where there is one, gets the value and the name of its field, and returns what is to be kept: an object
    with its defaults filled in. It raises ControlError itself.
    """

    accepted: Any
    check: Callable[[Any], bool]
    default: Any = REQUIRED
    parse: Callable[[Any, str], Any] | None = None

    def optional(self, default: Any = None) -> "Rule":
        return replace(self, default=default)

    def taken(self, value: Any, name: str) -> Any:
        """The value as it is to be kept. Raises ControlError when it is not accepted."""
        if not self.check(value):
            raise ControlError(f"{name} is not accepted.", field=name, accepted=self.accepted)
        return value if self.parse is None else self.parse(value, name)


def boolean() -> Rule:
    return Rule("true or false", lambda value: isinstance(value, bool))


def number(*, minimum: float = -math.inf) -> Rule:
    wording = "a number" if minimum == -math.inf else f"a number, at least {minimum:g}"
    return Rule(wording, lambda value: _is_number(value) and value >= minimum)


def chance() -> Rule:
    return Rule("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)


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


def nested(rules: Mapping[str, Rule]) -> Rule:
    """An object with fields of its own."""
    return Rule(
        describe(rules),
        lambda value: isinstance(value, dict),
        parse=lambda value, name: take(value, rules, within=name),
    )


def list_of(rule: Rule) -> Rule:
    def parse(value: Any, name: str) -> Any:
        return [rule.taken(item, f"{name}[{index}]") for index, item in enumerate(value)]

    return Rule([rule.accepted], lambda value: isinstance(value, list), parse=parse)


def mapping_of(rule: Rule, wording: Any) -> Rule:
    """An object of any names, whose values all follow one rule."""

    def parse(value: Any, name: str) -> Any:
        taken = {}
        for key, item in value.items():
            try:
                taken[key] = rule.taken(item, f"{name}.{key}")
            except ControlError as error:
                raise ControlError(str(error), field=name, accepted=wording) from error
        return taken

    return Rule(wording, lambda value: isinstance(value, dict), parse=parse)


def either(first: Rule, second: Rule) -> Rule:
    def parse(value: Any, name: str) -> Any:
        return (first if first.check(value) else second).taken(value, name)

    if isinstance(first.accepted, str) and isinstance(second.accepted, str):
        accepted: Any = f"{first.accepted}, or {second.accepted}"
    else:
        accepted = {"one of": [first.accepted, second.accepted]}
    return Rule(accepted, lambda value: first.check(value) or second.check(value), parse=parse)


def nullable(rule: Rule) -> Rule:
    accepted = f"{rule.accepted}, or null" if isinstance(rule.accepted, str) else {"null, or": rule.accepted}
    return Rule(
        accepted,
        lambda value: value is None or rule.check(value),
        parse=lambda value, name: None if value is None else rule.taken(value, name),
    )


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
        if name in body:
            taken[name] = rule.taken(body[name], f"{prefix}{name}")
        elif rule.default is REQUIRED:
            raise ControlError(f"{prefix}{name} is required.", field=f"{prefix}{name}", accepted=rule.accepted)
        else:
            taken[name] = rule.default
    return taken


def describe(rules: Mapping[str, Rule]) -> dict[str, Any]:
    return {name: _description(rule) for name, rule in rules.items()}


def _description(rule: Rule) -> Any:
    if rule.default is REQUIRED:
        return rule.accepted
    return f"{rule.accepted} (optional)" if isinstance(rule.accepted, str) else {"optional": rule.accepted}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
