"""One log line per event: JSON in production, readable in development, secrets taken out of both."""

import json
import logging.config
import math
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from types import TracebackType
from typing import Any
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"
LONGEST_TEXT = 20_000
LONGEST_SECRET = 500
SHORTEST_KNOWN_SECRET = 16  # a shorter one may be an ordinary word of other lines
DEEPEST = 6

SECRET_WORDS = r"token|secret|passwd|password|api[_-]?key|verifier|signature|credential"  # noqa: S105 - their names
SECRET_NAME = re.compile(rf"{SECRET_WORDS}|authorization|cookie|^code$", re.IGNORECASE)
# They say something about a secret, and are no secret themselves.
HARMLESS_NAME = re.compile(r"[_-](id|version|at|seconds|count|state|expires)$", re.IGNORECASE)
QUOTED_OR_REST = r"(?:\"[^\"]*\"|'[^']*'|{rest})"
# Texts of libraries come to us as they are: what is secret in them is known by its shape, or by the name before it.
SECRET_TEXTS = [
    re.compile(r"()isk_[0-9a-f]{8,64}"),
    re.compile(r"(\bbearer\s+)[\w.~+/=-]+", re.IGNORECASE),
    # DeviantArt's tokens; the 64 digits of a SHA-256 are none.
    re.compile(r"()(?<![0-9a-z])[0-9a-f]{40}(?:[0-9a-f]{10})?(?![0-9a-z])", re.IGNORECASE),
    re.compile(r"(?<=://)()[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(r"([?&](?:code|state)=)[^&#\s\"']+", re.IGNORECASE),
    re.compile(
        r"(\b(?:authorization|cookie)[\"']?\s{0,4}[:=]\s{0,4})" + QUOTED_OR_REST.format(rest=r"[^\r\n]+"), re.IGNORECASE
    ),
]
SECRET_PAIR = re.compile(
    rf"((?:{SECRET_WORDS})(?P<more>[\w-]{{0,40}})[\"']?\s{{0,4}}[:=]\s{{0,4}})"
    + QUOTED_OR_REST.format(rest=r"[^\s&;,\"'})\]]+"),
    re.IGNORECASE,
)
# What moves the cursor, colours, ends a line or turns the direction of reading.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def correlation_id() -> str:
    """What ties a request, the tasks that it sent and the calls that these made together; empty outside of both."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


class SecretsHidden:
    """Makes plain values of everything in an event, and takes the secrets out of them.

    ``known`` are secrets of this installation, found in whatever shape they come.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        words = sorted({word for word in known if len(word) >= SHORTEST_KNOWN_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, words))) if words else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: self._named(name, value, DEEPEST) for name, value in event.items()}

    def _named(self, name: str, value: Any, depth: int) -> Any:
        plain = self._plain(value, depth)
        if isinstance(plain, bool | int | float | None):
            return plain
        return HIDDEN if SECRET_NAME.search(name) and not HARMLESS_NAME.search(name) else plain

    def _plain(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth and isinstance(value, Mapping):
            return {self.text(str(name)): self._named(str(name), item, depth - 1) for name, item in value.items()}
        if depth and isinstance(value, list | tuple | set | frozenset):
            return [self._plain(item, depth - 1) for item in value]
        return self.text(_as_text(value))

    def text(self, text: str) -> str:
        """``text`` without secrets, and no longer than is worth reading."""
        # The cut comes last: one through a secret would leave a part that is not known as one any more.
        text = text[: LONGEST_TEXT + LONGEST_SECRET]
        if self._known:
            text = self._known.sub(HIDDEN, text)
        for pattern in SECRET_TEXTS:
            text = pattern.sub(rf"\1{HIDDEN}", text)
        text = SECRET_PAIR.sub(_hide_pair, text)
        return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _hide_pair(match: re.Match[str]) -> str:
    return match[0] if HARMLESS_NAME.search(match["more"]) else f"{match[1]}{HIDDEN}"


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value) if isinstance(value, UUID | date) else repr(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not cost the line
        return f"<{type(value).__name__}>"


def name_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The field names that our log lines have had from the beginning, and their order."""
    if "request_id" in event:
        event["correlationId"] = event.pop("request_id")
    if "event" in event:
        event["message"] = event.pop("event")
    first = {name: event[name] for name in ("timestamp", "level", "message", "correlationId") if name in event}
    return {**first, **event}


def escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """For people's terminals: no value can begin a line of its own, move the cursor or colour anything."""
    for name, value in event.items():
        if not isinstance(value, str):
            continue
        if name in {"exception", "stack"}:
            event[name] = "\n".join(f"  | {_escaped(line)}" for line in value.split("\n"))
        else:
            event[name] = _escaped(value)
    return event


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class EventHandler(logging.StreamHandler):
    """Writes to standard error; a line that cannot be made is reported without its contents, which may be secret."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        error = sys.exc_info()[0]
        line = {
            "level": "error",
            "message": "log_line_lost",
            "logger": record.name,
            "place": f"{record.pathname}:{record.lineno}",
            "error": error.__name__ if error else None,
        }
        with suppress(OSError, ValueError):  # where nobody reads our lines any more
            self.stream.write(json.dumps(line) + "\n")


def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """In place of Python's own report, which would quote secrets over many lines."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        structlog.get_logger("isekai").critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_value is not None and not issubclass(uncaught.exc_type, SystemExit):
        log_uncaught(uncaught.exc_type, uncaught.exc_value, uncaught.exc_traceback)


def configure(*, level: str, as_json: bool, secrets: Iterable[str] = (), for_good: bool = False) -> None:
    """Send our events and those of the libraries through the same processors to standard error.

    ``secrets`` are values that no line may show, whatever stands around them. ``for_good``: each logger keeps what it
    finds at its first line, which is faster, and blind to any later configuration (a test that captures lines).
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    hide_secrets = SecretsHidden(secrets)
    last: list[Processor]
    if as_json:
        last = [
            structlog.processors.format_exc_info,
            name_fields,
            hide_secrets,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            name_fields,
            hide_secrets,
            escape_controls,
            structlog.dev.ConsoleRenderer(
                colors=False, event_key="message", exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=for_good,
    )
    formatter: dict[str, Any] = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        "foreign_pre_chain": shared,
    }
    # Their DEBUG lines quote headers and signed URLs.
    talkative = ("botocore", "boto3", "urllib3", "s3transfer", "requests_toolbelt", "django.db.backends", "PIL")
    # What they report is in our own lines already: how each request and each task ended.
    doubled = ("django.request", "celery.app.trace", "celery.worker.strategy")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"event": formatter},
            "handlers": {"stderr": {"()": EventHandler, "formatter": "event"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                **{name: {"level": "INFO" if level == "DEBUG" else level} for name in talkative},
                **{name: {"level": "CRITICAL"} for name in doubled},
                # Django makes a body for HEAD too, and leaves it to the server to drop it.
                "gunicorn.http.wsgi": {"level": "ERROR"},
            },
        }
    )
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_uncaught_in_thread
    if as_json:  # at a terminal, Python's own report is the more readable one
        sys.excepthook = log_uncaught
