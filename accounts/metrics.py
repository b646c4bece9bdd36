"""What Prometheus reads of the DeviantArt accounts and their tokens."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from django.db.models import Count
from prometheus_client import REGISTRY
from prometheus_client import Counter as CounterMetric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from accounts.models import DeviantArtAccount
from accounts.services.pacing import breaker
from accounts.services.secrets import rows_per_key
from deviantart.breaker import Position, Scope
from isekai.readiness import Question

# `renewed`, `login_lost`, or the code of the error that left everything as it was.
TOKEN_REFRESHES = CounterMetric("token_refreshes", "Refreshes of DeviantArt tokens, by what came of them", ["outcome"])


@dataclass(frozen=True, slots=True)
class Stored:
    rows_per_key: dict[str, int]
    accounts_per_state: dict[str, int]


def count_stored() -> Stored:
    """Raises DatabaseError where there is no answer."""
    states = DeviantArtAccount.objects.order_by().values_list("state").annotate(accounts=Count("pk"))
    return Stored(rows_per_key(), dict.fromkeys(DeviantArtAccount.State.values, 0) | dict(states))


class StoredCollector(Collector):
    """Counts in the database whenever somebody asks. While that does not answer there is no number, and no old one."""

    def __init__(self) -> None:
        self._question = Question("metrics of accounts", count_stored)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("secrets_rows", "Rows whose secrets are under this encryption key", labels=["key_id"])
        yield GaugeMetricFamily("deviantart_accounts", "DeviantArt accounts in this state", labels=["state"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stored = self._question.answer()
        if stored is None:
            return
        for family, numbers in zip(self.describe(), (stored.rows_per_key, stored.accounts_per_state), strict=True):
            for label, number in numbers.items():
                family.add_metric([label], number)
            yield family


def count_breakers() -> Counter[tuple[str, str]]:
    """How many breakers there are by scope and position. Raises RedisError where there is no answer."""
    return Counter(
        (Scope.INSTALLATION if state.account is None else Scope.ACCOUNT, state.position) for state in breaker().states()
    )


class BreakersCollector(Collector):
    """Asks Redis for the breakers whenever somebody asks; there is no number while it is away."""

    def __init__(self) -> None:
        self._question = Question("metrics of breakers", count_breakers)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "deviantart_breakers",
            "Breakers in this position, of accounts and of the installation",
            labels=["scope", "position"],
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = self._question.answer()
        if found is None:
            return
        (family,) = self.describe()
        for scope, position in product(Scope, Position):
            family.add_metric([scope, position], found[scope, position])
        yield family


REGISTRY.register(StoredCollector())
REGISTRY.register(BreakersCollector())
