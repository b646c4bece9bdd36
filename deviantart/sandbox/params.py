"""Parameters as PHP understands them: ``a[]``, ``a[0]``, ``a[key]``, and booleans in three spellings."""

import re
import uuid
from collections.abc import Iterable
from urllib.parse import parse_qsl

from deviantart.sandbox.errors import invalid_fields

_NAME = re.compile(r"([^\[\]]+)\[([^\]]*)\]")
_TRUE = {"true", "1", "yes"}
_FALSE = {"false", "0", "no", ""}


class Params:
    """What a request carries. Reading a value that does not validate notes the reason; ``check`` then raises."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.problems: dict[str, str] = {}
        self._scalars: dict[str, str] = {}
        self._arrays: dict[str, dict[str, str]] = {}
        for name, value in pairs:
            if match := _NAME.fullmatch(name):
                array = self._arrays.setdefault(match.group(1), {})
                array[match.group(2) or f"#{len(array)}"] = value
            else:
                self._scalars[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._scalars or name in self._arrays

    def text(self, name: str) -> str | None:
        return self._scalars.get(name)

    def required(self, name: str) -> str:
        value = self._scalars.get(name)
        if not value:
            self.problems[name] = f"{name} is required"
        return value or ""

    def boolean(self, name: str, *, default: bool | None = None) -> bool | None:
        """None when absent and without a default."""
        value = self._scalars.get(name)
        if value is None:
            return default
        lowered = value.strip().lower()
        if lowered not in _TRUE | _FALSE:
            self.problems[name] = f"failed to validate {name}"
        return lowered in _TRUE

    def integer(
        self, name: str, default: int | None = None, *, minimum: int = 0, maximum: int = 2**63 - 1
    ) -> int | None:
        value = self._scalars.get(name)
        if value is None or value == "":
            return default
        if not (re.fullmatch(r"-?[0-9]{1,19}", value) and minimum <= int(value) <= maximum):
            self.problems[name] = f"failed to validate {name}"
            return default
        return int(value)

    def choice(self, name: str, values: Iterable[str]) -> str | None:
        value = self._scalars.get(name) or None
        if value is not None:
            self._require_choice(name, value, list(values))
        return value

    def choices(self, name: str, values: Iterable[str]) -> list[str]:
        accepted = list(values)
        chosen = self.array(name)
        for value in chosen:
            self._require_choice(name, value, accepted)
        return chosen

    def array(self, name: str) -> list[str]:
        """The values of ``name[]`` or ``name[0]``. A plain ``name=a,b`` is no array and is ignored."""
        return list(self._arrays.get(name, {}).values())

    def mapping(self, name: str) -> dict[str, str]:
        return dict(self._arrays.get(name, {}))

    def uuids(self, name: str) -> list[str]:
        values = self.array(name)
        for value in values:
            if not is_uuid(value):
                self.problems[name] = f"{name} is not a valid UUID"
        return [value.upper() for value in values]

    def refuse(self, name: str) -> None:
        self.problems[name] = f"failed to validate {name}"

    def check(self, code: int | None = None) -> None:
        """Raises ApiError with every problem that was noted."""
        if self.problems:
            raise invalid_fields(self.problems, code)

    def _require_choice(self, name: str, value: str, accepted: list[str]) -> None:
        if value not in accepted:
            self.problems[name] = f"{name} must be value from enum list: {', '.join(accepted)}"


def is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def parse_form(encoded: str) -> list[tuple[str, str]]:
    return parse_qsl(encoded, keep_blank_values=True)
