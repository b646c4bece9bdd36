"""The root of every exception that our own code raises on purpose."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise


class IsekaiError(Exception):
    """Something that we can explain.

    ``code`` is stable and for machines, ``status`` is the HTTP status that a door answers with, the message is worded
    for the reader (plain text or a lazy translation). ``details`` maps a field name to what was wrong with it and what
    is accepted.
    """

    code: str = "error"
    status: int = 400

    def __init__(
        self,
        message: str | Promise = "",
        *,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return str(self.message)
