"""Typed readers of the environment: a wrong or missing value stops the start and names itself."""

import os
import re
from collections.abc import Mapping
from typing import overload
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}
# What stands in examples and in the manuals of the servers.
DEFAULT_LOOKING = re.compile(r"change.?(this|me)|example|insecure|minioadmin|p[a@]ssw[o0]rd|secret", re.IGNORECASE)


def looks_guessable(secret: str) -> bool:
    """Whether it is short, stands in some manual, or is made of a few characters again and again."""
    repeats = secret in (secret + secret)[1:-1]
    return len(secret) < 12 or repeats or len(set(secret)) < 6 or bool(DEFAULT_LOOKING.search(secret))


class Environment:
    """Reads named values; ``time_scale`` is what every wait of the engine is multiplied with (1 in production)."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = os.environ if values is None else values
        self.time_scale = 1.0

    def _wrong(self, name: str, expected: str) -> ImproperlyConfigured:
        # Never shows the value: it may be a secret.
        state = "is not set" if not self.values.get(name) else "has a value that cannot be used"
        return ImproperlyConfigured(f"{name} {state}; expected: {expected}.")

    @overload
    def text(self, name: str, *, expected: str = ...) -> str: ...
    @overload
    def text(self, name: str, default: str, *, expected: str = ...) -> str: ...
    def text(self, name: str, default: str | None = None, *, expected: str = "a text") -> str:
        value = self.values.get(name) or default
        if value is None:
            raise self._wrong(name, expected)
        return value

    def secret(self, name: str, *, at_least: int = 32, required: bool = True) -> str:
        """A text of at least ``at_least`` characters that does not look like an example.

        Empty where it is neither set nor required.
        """
        value = self.values.get(name, "")
        if not value and not required:
            return ""
        if len(value) < at_least or looks_guessable(value):
            raise self._wrong(name, f"a random secret of at least {at_least} characters")
        return value

    def boolean(self, name: str, default: bool) -> bool:  # noqa: FBT001 - reads like the others
        value = self.values.get(name)
        if value is None:
            return default
        if value.strip().lower() in TRUE:
            return True
        if value.strip().lower() in FALSE:
            return False
        raise self._wrong(name, "one of 1, true, yes, on, 0, false, no, off")

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
        value = self.values.get(name) or str(default)
        if not re.fullmatch(r"-?[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return int(value)

    def decimal(self, name: str, default: float, *, least: float, most: float) -> float:
        value = self.values.get(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) or not least <= float(value) <= most:
            raise self._wrong(name, f"a number from {least} to {most}")
        return float(value)

    def seconds(self, name: str, default: float) -> float:
        """A wait of the engine in seconds, already multiplied with the time scale."""
        return self.decimal(name, default, least=0, most=10_000_000) * self.time_scale

    def choice(self, name: str, default: str, choices: list[str]) -> str:
        value = self.values.get(name) or default
        if value not in choices:
            raise self._wrong(name, "one of " + ", ".join(choices))
        return value

    def names(self, name: str, default: list[str]) -> list[str]:
        """A list with commas between its entries."""
        value = self.values.get(name)
        return default if not value else [entry.strip() for entry in value.split(",") if entry.strip()]

    def url(self, name: str, default: str | None = None, *, schemes: list[str], required: bool = True) -> str:
        """An absolute URL without a slash at its end; an empty text where it is neither set nor required."""
        value = self.values.get(name) or default or ""
        if not value and not required:
            return ""
        wrong = self._wrong(name, "a URL that starts with " + " or ".join(f"{scheme}://" for scheme in schemes))
        try:
            parts = urlsplit(value)
            usable = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:
            raise wrong from None  # its text quotes the value
        if not usable:
            raise wrong
        return value.rstrip("/")

    def encryption_keys(self, name: str) -> list[bytes]:
        """One or more keys of 32 bytes as 64 hex digits, the newest first, with commas between them."""
        keys = self.names(name, [])
        if not keys or not all(re.fullmatch(r"[0-9a-fA-F]{64}", key) and not looks_guessable(key) for key in keys):
            raise self._wrong(name, "64 random hex digits (32 bytes); older keys may follow after commas")
        return [bytes.fromhex(key) for key in keys]
