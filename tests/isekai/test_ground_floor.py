"""What everything else stands on: ids, the clock, the root of the errors."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

import pytest
import time_machine
from django.db import connection
from django.utils.translation import gettext_lazy

from isekai import clock
from isekai.errors import IsekaiError
from isekai.ids import new_id


def test_an_id_is_a_uuid_of_version_seven() -> None:
    for _ in range(200):
        made = new_id()
        assert made.version == 7
        assert made.variant == RFC_4122


def test_ids_are_in_the_order_of_their_making() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=n) for n in (0, 1, 2, 1000, 10**9, 10**11)]
    made = []
    for moment in moments:
        with time_machine.travel(moment, tick=False):
            made.append(new_id())
            assert made[-1].int >> 80 == round(moment.timestamp() * 1000)
    assert made == sorted(made)


def test_no_two_ids_are_the_same() -> None:
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False):
        assert len({new_id() for _ in range(10_000)}) == 10_000


@pytest.mark.django_db
def test_the_databases_clock_moves_within_a_transaction() -> None:
    first, second = clock.database_now(), clock.database_now()
    assert first < second
    assert first.tzinfo is not None
    assert abs((clock.now() - first).total_seconds()) < 60


@pytest.mark.django_db
def test_a_test_can_set_the_databases_clock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('isekai.now', '2030-01-01T12:00:00Z', true)")
    assert clock.database_now() == datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_an_error_has_a_code_a_status_and_words_for_its_reader() -> None:
    error = IsekaiError(gettext_lazy("Choose a time."), code="no_time", details={"scheduled_at": ["Choose one."]})
    assert (str(error), error.code, error.status) == ("Choose a time.", "no_time", 400)
    assert error.details == {"scheduled_at": ["Choose one."]}
    assert IsekaiError("Anything").details == {}
