"""The health server of our Celery workers: ``GET /health``, ``/ready`` and ``/metrics``, answered from a thread."""

import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import structlog
from celery.bootsteps import RUN  # type: ignore[attr-defined] # its stubs leave it out
from celery.worker import state

from isekai import metrics, readiness

logger = structlog.get_logger(__name__)

REQUEST_SECONDS = 5.0
MOST_REQUESTS_AT_ONCE = 16

# Of the queues on which a worker hears from itself alone.
CANARY_PREFIX = "canary."

Answer = tuple[int, str, bytes]


class Service:
    """One worker as its probes see it."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._started = time.monotonic()
        # What a worker does outside of Celery's pool, and says of itself in `/ready`.
        self.other_jobs: Callable[[], int] = lambda: 0
        self.about: Callable[[], dict[str, Any]] = dict
        self.name = service_name(set(worker.app.amqp.queues.consume_from))

    def uptime_seconds(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def active_jobs(self) -> int:
        """How many tasks run at this moment, in the threads or the children of this worker."""
        return len(state.active_requests) + self.other_jobs()

    def consuming(self) -> bool:
        """Whether its connection to the broker is up, and it takes messages from it."""
        consumer = getattr(self._worker, "consumer", None)
        if consumer is None or self._worker.blueprint.state != RUN:
            return False
        blueprint = consumer.blueprint
        # The last step is the loop that reads messages; it is reached anew after each loss of the connection.
        started = blueprint.state == RUN and blueprint.started == len(consumer.steps)
        return started and consumer.connection is not None

    def health(self) -> Answer:
        body = {"status": "healthy", "service": f"isekai-{self.name}", "uptime": self.uptime_seconds()}
        return _as_json(200, {**body, "timestamp": readiness.timestamp()})

    def ready(self) -> Answer:
        readiness.REDIS.put()
        database = readiness.DATABASE.answer() is not None
        redis = readiness.REDIS.answer() is not None
        consuming = self.consuming()
        all_well = consuming and redis and database
        body = {
            "status": "ready" if all_well else "not_ready",
            "service": f"isekai-{self.name}",
            "worker": {"running": consuming, "activeJobs": self.active_jobs()},
            "redis": {"connected": redis},
            "database": {"connected": database},
            **self.about(),
            "timestamp": readiness.timestamp(),
        }
        return _as_json(200 if all_well else 503, body)

    def metrics(self) -> Answer:
        # By hand, as prometheus_client would add `_total` to the name of a counter.
        own = (
            f"# HELP {self.name}_active_jobs Number of jobs currently being processed\n"
            f"# TYPE {self.name}_active_jobs gauge\n"
            f"{self.name}_active_jobs {self.active_jobs()}\n"
            f"# HELP {self.name}_uptime_seconds Uptime of the {self.name} service in seconds\n"
            f"# TYPE {self.name}_uptime_seconds counter\n"
            f"{self.name}_uptime_seconds {self.uptime_seconds()}\n"
        )
        return 200, metrics.CONTENT_TYPE, own.encode() + metrics.exposition()


def service_name(queues: set[str]) -> str:
    """``publisher`` and ``media`` have processes of their own; whatever else consumes is the ``worker``.

    The queue of a process's own canary says nothing about what it is.
    """
    queues = {name for name in queues if not name.startswith(CANARY_PREFIX)}
    return next(iter(queues)) if queues in ({"publisher"}, {"media"}) else "worker"


def _as_json(status: int, body: dict[str, Any]) -> Answer:
    return status, "application/json", json.dumps(body).encode()


class ProbeHandler(BaseHTTPRequestHandler):
    """``GET`` and ``HEAD`` of three paths; says nothing about itself, and logs nothing."""

    server: "ProbeServer"
    timeout = REQUEST_SECONDS

    def handle(self) -> None:
        # The timeout above is one for each read: somebody who sends a byte every now and then needs another end.
        deadline = threading.Timer(REQUEST_SECONDS, self._hang_up)
        deadline.daemon = True
        deadline.start()
        try:
            super().handle()
        except OSError:
            self.close_connection = True
        finally:
            deadline.cancel()

    def _hang_up(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # gone already

    def do_GET(self) -> None:
        answer = self.server.paths.get(self.path.partition("?")[0])
        self._reply(*(answer() if answer else _as_json(404, {"code": "not_found"})))

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        # What cannot be parsed would be quoted by the inherited answer; a method that nobody implements is one that
        # is not allowed here.
        self._reply(
            *_as_json(405, {"code": "method_not_allowed"}) if code == 501 else _as_json(code, {"code": "error"})
        )

    def _reply(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        headers |= {"X-Content-Type-Options": "nosniff", **({"Allow": "GET, HEAD"} if status == 405 else {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "isekai"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Nothing: probes come every few seconds, and a stranger's request line belongs in no log."""


class ProbeServer(ThreadingHTTPServer):
    """Bound once it is made (raises OSError); ends with the process."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.paths: dict[str, Callable[[], Answer]] = {
            "/health": service.health,
            "/ready": service.ready,
            "/metrics": service.metrics,
        }
        self._free = threading.BoundedSemaphore(MOST_REQUESTS_AT_ONCE)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, ProbeHandler)

    def server_bind(self) -> None:
        # The inherited one asks the DNS for a name that nobody reads, and may wait long for it.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the inherited names
        logger.error("probe_failed", exc_info=True)  # noqa: LOG014 - called from a handler
