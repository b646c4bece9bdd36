"""What Prometheus reads of publishing: counted where it happens, or in the database at the moment of the question."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import Count, Min
from prometheus_client import REGISTRY, Gauge, Histogram
from prometheus_client import Counter as CounterMetric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from accounts.models import DeviantArtAccount
from deviations.models import Deviation
from isekai import clock
from isekai.readiness import Question
from publisher.models import GalleryCheck, InstallationHold
from publisher.services.holds import galleries_unread
from publisher.services.marks import known_mark

# What is due for so long and in nobody's hand, although its account may publish, is not moving.
OVERDUE_SECONDS = 60.0

ATTEMPTS = CounterMetric(
    "publisher_attempts",
    "Calls that this process made for works, by step (submit, publish, look_up) and by what came of them",
    ["step", "outcome", "category"],
)
STEP_SECONDS = Histogram(
    "publisher_step_seconds",
    "From the moment at which a call was written down to the moment at which its end was",
    ["step"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
LATENESS = Histogram(
    "publisher_lateness_seconds",
    "From a work's moment to its first publish call",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400),
)
RESCUES = CounterMetric("publisher_rescues", "Works and uploads that this process took from a publisher that is gone")
CLOCK_DIFFERENCE = Gauge(
    "publisher_clock_difference_seconds",
    "By how much this host's clock, and DeviantArt's, are ahead of the database's",
    ["clock"],
    multiprocess_mode="livemostrecent",
)


def count_attempt(*, step: str, outcome: str, category: str, seconds: float) -> None:
    """A call has ended, after so long."""
    ATTEMPTS.labels(step, outcome, category).inc()
    STEP_SECONDS.labels(step).observe(max(0.0, seconds))


def count_start(late: timedelta) -> None:
    """The first publish call of a work begins, so long after its moment."""
    LATENESS.observe(max(0.0, late.total_seconds()))


@dataclass(slots=True)
class Stored:
    in_flight: int = 0
    due: int = 0
    overdue: int = 0
    held: Counter[str] = field(default_factory=Counter)
    checks: int = 0


def count_stored() -> Stored:
    """Looks at what is due and what is in hand, never at all works. Raises DatabaseError."""
    stored = Stored(in_flight=Deviation.objects.claimed().count(), checks=GalleryCheck.objects.pending().count())
    installation = InstallationHold.objects.order_by("reason").values_list("reason", flat=True).first()
    now = clock.database_now()
    due = Deviation.objects.due(now).order_by().values("account_id").annotate(works=Count("pk"), since=Min("due_at"))
    rows = {row["account_id"]: row for row in due}
    unread = DeviantArtAccount.objects.filter(galleries_unread(), pk__in=rows)
    checked = set(unread.values_list("pk", flat=True))
    busy = set(Deviation.objects.claimed().filter(account_id__in=rows).values_list("account_id", flat=True))
    for account in DeviantArtAccount.objects.filter(pk__in=rows):
        row = rows[account.pk]
        stored.due += row["works"]
        reason = installation or ("gallery_check" if account.pk in checked else account.held_because)
        if reason:
            stored.held[reason] += row["works"]
        elif account.pk not in busy and row["since"] < now - timedelta(seconds=OVERDUE_SECONDS):
            stored.overdue += row["works"]
    return stored


class StoredCollector(Collector):
    """Counts in the database whenever somebody asks. While that does not answer there is no number, and no old one."""

    def __init__(self) -> None:
        self._question = Question("metrics of publishing", count_stored)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("publisher_in_flight", "Works in the hands of a publisher")
        yield GaugeMetricFamily("publisher_due", "Works whose moment has come, held ones included")
        yield GaugeMetricFamily(
            "publisher_overdue", "Works that an able account could have published a minute ago, and nobody has in hand"
        )
        yield GaugeMetricFamily("publisher_gallery_checks", "Accounts whose gallery has to be compared first")
        yield GaugeMetricFamily("publisher_held", "Due works that wait because of this", labels=["reason"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stored = self._question.answer()
        if stored is None:
            return
        in_flight, due, overdue, checks, held = self.describe()
        in_flight.add_metric([], stored.in_flight)
        due.add_metric([], stored.due)
        overdue.add_metric([], stored.overdue)
        checks.add_metric([], stored.checks)
        for reason, works in stored.held.items():
            held.add_metric([reason], works)
        yield from (in_flight, due, overdue, checks, held)


class MarkCollector(Collector):
    """How long ago the last publish was that this process knows of; no number where it knows of none."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("publisher_mark_age_seconds", "Since the last publish that the mark remembers")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        published_at = known_mark().published_at
        if published_at is not None:
            (family,) = self.describe()
            family.add_metric([], (clock.now() - published_at).total_seconds())
            yield family


REGISTRY.register(StoredCollector())
REGISTRY.register(MarkCollector())
