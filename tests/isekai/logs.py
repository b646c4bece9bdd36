"""The log as a process writes it, for a test to read."""

import io
import logging
import sys
import threading

import structlog
from django.conf import settings

from isekai import logging as isekai_logging

KNOWN = "Zq7!kept-in-the-environment"
"""A secret that the log was told of."""


class logging_to:  # noqa: N801 - reads as the block that it is
    """Standard error, as configured by us, in memory; what pytest has set up is put back."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.written = io.StringIO()
        self.root = logging.getLogger()

    def __enter__(self) -> io.StringIO:
        self.kept = self.root.handlers[:]
        self.hooks = sys.excepthook, threading.excepthook
        isekai_logging.configure(level="DEBUG", as_json=self.as_json, secrets=[KNOWN, "short"])
        for handler in self.root.handlers:
            assert isinstance(handler, logging.StreamHandler)
            handler.setStream(self.written)
        return self.written

    def __exit__(self, *_exception: object) -> None:
        isekai_logging.configure(level=settings.LOG_LEVEL, as_json=False)
        self.root.handlers[:] = self.kept
        sys.excepthook, threading.excepthook = self.hooks
        structlog.contextvars.clear_contextvars()
