"""A call to DeviantArt from end to end: send, judge, log. Shared by the API client and by OAuth."""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from deviantart.config import Config, Timeouts
from deviantart.errors import Call, DeviantArtError, classify, payload_of, reports_an_error
from deviantart.transport import Answer, Bounds, Exchange, NoAnswer, perform
from deviantart.types import UnreadablePayload

logger = structlog.get_logger(__name__)

MINOR_VERSION = "20240701"
MAX_ANSWER_BYTES = 2 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls in one configuration. ``token`` goes into the header; ``secrets`` are kept out of errors and logs."""

    config: Config
    token: str | None = None
    secrets: Collection[str] = ()
    correlation_id: str | None = None

    def call(
        self,
        call: Call,
        method: str,
        url: str,
        *,
        read: Callable[[Mapping[str, Any], datetime | None], T],
        params: Sequence[tuple[str, str]] = (),
        data: Any = None,
        content_type: str | None = None,
        exchange: Exchange | None = None,
    ) -> T:
        """What ``read`` makes of the answer's JSON object and date; raises DeviantArtError.

        ``read`` raises UnreadablePayload when a success lacks what it must contain: such an answer proves nothing.
        """
        exchange = exchange or Exchange(bounds_for(call, self.config.timeouts))
        headers = {
            "User-Agent": self.config.user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "dA-minor-version": MINOR_VERSION,
        }
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if content_type is not None:
            headers["Content-Type"] = content_type
        log = logger.bind(call=str(call), endpoint=urlsplit(url).path, correlation_id=self.correlation_id)
        started = time.monotonic()
        try:
            answer = perform(
                exchange,
                method,
                url,
                headers=headers,
                max_bytes=MAX_ANSWER_BYTES,
                params=params,
                data=data,
                ca_bundle=self.config.ca_bundle,
            )
            result = self._judge(call, answer, read)
        except NoAnswer as silence:
            failure = classify(call, silence, secrets=self.secrets)
            _log_failure(log, failure, started)
            raise failure from None
        except DeviantArtError as failure:
            _log_failure(log, failure, started)
            raise
        log.info("deviantart_answered", http_status=answer.status, duration_ms=_milliseconds_since(started))
        return result

    def _judge(self, call: Call, answer: Answer, read: Callable[[Mapping[str, Any], datetime | None], T]) -> T:
        payload = payload_of(answer)
        if 200 <= answer.status < 300 and payload is not None and not reports_an_error(payload):
            with contextlib.suppress(UnreadablePayload):
                return read(payload, answer.date)
        raise classify(call, answer, secrets=self.secrets)


def bounds_for(call: Call, timeouts: Timeouts) -> Bounds:
    """How long each part of this call may take."""
    match call:
        case Call.SUBMIT:
            whole = timeouts.submit_seconds
        case Call.PUBLISH | Call.EDIT:
            whole = timeouts.publish_seconds
        case Call.EXCHANGE | Call.REFRESH | Call.REVOKE:
            whole = timeouts.token_seconds
        case _:
            whole = timeouts.read_seconds
    # Who waits for a work to be taken or published waits to the end: a late answer is worth more than an unknown one.
    silence = whole if call in {Call.SUBMIT, Call.PUBLISH, Call.EDIT} else timeouts.stall_seconds
    return Bounds(connect=timeouts.connect_seconds, write=timeouts.stall_seconds, read=silence, call=whole)


def _log_failure(log: Any, failure: DeviantArtError, started: float) -> None:
    log.warning(
        "deviantart_call_failed",
        failure=failure.code,  # not "code": the logs hide that key, for it also names the code of a login
        category=str(failure.category),
        outcome=str(failure.outcome),
        http_status=failure.http_status,
        error=failure.error,
        error_code=failure.error_code,
        duration_ms=_milliseconds_since(started),
    )


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
