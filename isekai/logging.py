"""One log line per event: JSON in production, readable in development, secrets taken out of both."""

import logging.config
import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_NAME = re.compile(r"token|secret|password|authorization|cookie|api_?key|verifier|^code$", re.IGNORECASE)
# API keys, DeviantArt's token shapes (40 and 50 hex digits), bearer headers, credentials inside URLs.
SECRET_VALUE = re.compile(
    r"isk_[0-9a-f]{8,64}|(?i:bearer)\s+\S+|(?<![0-9a-f])[0-9a-f]{40}(?:[0-9a-f]{10})?(?![0-9a-f])|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
HIDDEN = "[hidden]"


def correlation_id() -> str:
    """What ties a request, the tasks that it sent and the calls that these made together; empty outside of both."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if SECRET_NAME.search(name) and not name.endswith(("_id", "_version", "_at", "_seconds")):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = SECRET_VALUE.sub(HIDDEN, value)
    return event


def name_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The field names that our log lines have had from the beginning: ``message`` and ``correlationId``."""
    if "request_id" in event:
        event["correlationId"] = event.pop("request_id")
    return event


def configure(*, level: str, as_json: bool) -> None:
    """Send our events and those of the libraries through the same processors to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        name_fields,
    ]
    last: list[Processor]
    if as_json:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            hide_secrets,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [structlog.processors.format_exc_info, hide_secrets, structlog.dev.ConsoleRenderer(colors=False)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter: dict[str, Any] = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        "foreign_pre_chain": shared,
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"event": formatter},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "event"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {
                "django.server": {"propagate": True},
                # Their DEBUG lines quote headers and signed URLs.
                **{
                    name: {"level": "INFO"}
                    for name in ("botocore", "boto3", "urllib3", "s3transfer", "requests_toolbelt")
                },
                "django.db.backends": {"level": "INFO"},
                "PIL": {"level": "INFO"},
            },
        }
    )
