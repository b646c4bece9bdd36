"""What probes ask the web process: ``GET /health``, ``/ready`` and ``/metrics``."""

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Max, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from django_celery_beat.models import PeriodicTask

from deviations.models import Deviation
from isekai import clock, metrics, readiness

# Beat has something to send every five seconds.
BEAT_IS_LATE_SECONDS = 60
# Proxies say so when they pass a request on; what they pass on comes from loopback, and from anybody.
FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REAL_IP", "HTTP_VIA")

View = Callable[[HttpRequest], HttpResponse]


class ProbeMiddleware:
    """Answers the probes' paths ahead of everything else.

    Probes come by whatever address the process has, so no host is asked for; they have no session; and they come so
    often that a log line for each would bury the others.
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = PROBES.get(request.path_info, self.get_response)
        return view(request)


@dataclass(frozen=True)
class DatabaseFacts:
    pending_migrations: int
    beat_ticked_at: datetime | None
    oldest_due_at: datetime | None
    now: datetime

    def seconds_since(self, moment: datetime | None) -> float | None:
        return None if moment is None else max(0.0, round((self.now - moment).total_seconds(), 3))


def ask_database() -> DatabaseFacts:
    """Raises DatabaseError where this process gets no connection, or no answer."""
    loader = MigrationLoader(connection)
    return DatabaseFacts(
        # What the database has beyond our own is a newer release's, on which old code must run.
        pending_migrations=len(set(loader.graph.nodes) - set(loader.applied_migrations or ())),
        # Beat keeps that row in the database, so that an emptied Redis says nothing about it.
        beat_ticked_at=PeriodicTask.objects.filter(enabled=True).aggregate(latest=Max("last_run_at"))["latest"],
        oldest_due_at=Deviation.objects.due(clock.DatabaseNow()).aggregate(oldest=Min("due_at"))["oldest"],
        now=clock.database_now(),
    )


FACTS = readiness.Question("database", ask_database)


@require_safe
def health(_request: HttpRequest) -> HttpResponse:
    """Whether this process answers at all, and nothing else."""
    return _uncached(JsonResponse({"status": "healthy"}))


@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    """Whether all that Isekai leans on works; 503 where not, though pages go on without Redis."""
    readiness.REDIS.put()
    facts = FACTS.answer()
    redis = readiness.REDIS.answer() is not None
    migrated = facts is not None and facts.pending_migrations == 0
    ticked = None if facts is None else facts.seconds_since(facts.beat_ticked_at)
    ticking = ticked is not None and ticked < BEAT_IS_LATE_SECONDS
    all_well = redis and migrated and ticking
    body = {
        "status": "ready" if all_well else "not_ready",
        "service": "isekai-web",
        "database": {"connected": facts is not None},
        "migrations": {"applied": migrated, "pending": None if facts is None else facts.pending_migrations},
        "redis": {"connected": redis},
        "beat": {"ticking": ticking, "lastTickSeconds": ticked},
        "works": {"oldestDueSeconds": None if facts is None else facts.seconds_since(facts.oldest_due_at)},
        "timestamp": readiness.timestamp(),
    }
    return _uncached(JsonResponse(body, status=200 if all_well else 503))


@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text, for whoever has the token; without a token only for this machine itself."""
    if not _may_read_metrics(request):
        return _uncached(HttpResponse("", status=403, content_type="text/plain"))
    return _uncached(HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE))


PROBES: dict[str, View] = {"/health": health, "/ready": ready, "/metrics": show_metrics}


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.META.get("HTTP_AUTHORIZATION", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    passed_on = settings.ISEKAI_BEHIND_PROXY or any(name in request.META for name in FORWARDED)
    return not passed_on and _is_loopback(request.META.get("REMOTE_ADDR", ""))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _uncached(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["Content-Length"] = str(len(response.content))
    return response
