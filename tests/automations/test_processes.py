"""The tick as it runs: real beats and workers over Redis and PostgreSQL, and workers killed in the midst of it."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from deviations.models import Deviation
from isekai import clock
from tests.automations.ticking import MINUTE, make_automation, make_drafts
from tests.connecting import connected_account
from tests.processes import Processes, real_processes, wait_until
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# Slots are made an hour before their moment, whatever the scale of time is.
AHEAD = {"AUTOMATION_LEAD": "36000"}
RULES = 3
# Where a worker is killed: at its first write to the table, which it has not finished.
KILLED_AT = ["automations_execution", "deviations_deviation", "automations_executionwork", "automations_schedulerule"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=7) as sandbox:
        yield sandbox


@pytest.fixture
def system(transactional_db: None, sandbox: SandboxProcess) -> Iterator[Processes]:
    with real_processes(sandbox) as processes:
        yield processes


@pytest.fixture
def automations(system: Processes, sandbox: SandboxProcess) -> list[Automation]:
    """Two of each of two artists, whose rules all have one slot within the hour; drafts for twice as many."""
    made = []
    for number in range(2):
        account = connected_account(sandbox, f"artist-{number}")
        made += [
            make_automation(account, *(_rule(minutes) for minutes in (20, 30, 40)), zone="UTC") for _number in range(2)
        ]
        make_drafts(account.workspace, 4 * RULES, made_at=clock.now() - MINUTE)
    return made


def _rule(minutes: int) -> dict[str, Any]:
    moment = clock.now() + timedelta(minutes=minutes)
    return {"type": "fixed_time", "time_of_day": moment.time().replace(second=0, microsecond=0)}


def planned() -> dict[Any, datetime]:
    """When each rule has its slot, as it was said when it was made."""
    return {pk: at for pk, at in ScheduleRule.objects.values_list("pk", "next_slot_at") if at is not None}


def all_made(slots: dict[Any, datetime]) -> bool:
    return Execution.objects.filter(rule__in=slots).count() >= len(slots)


def assert_each_slot_has_one_work(slots: dict[Any, datetime]) -> None:
    rows = Execution.objects.values_list("rule", "slot_at", "outcome")
    assert Counter(rows) == Counter((rule, at, "scheduled") for rule, at in slots.items())
    works = ExecutionWork.objects.values_list("execution__rule", "deviation__publish_at", "deviation__status")
    assert Counter(works) == Counter((rule, at, "scheduled") for rule, at in slots.items())
    assert Deviation.objects.filter(status=Deviation.Status.SCHEDULED).count() == len(slots)


@contextmanager
def held_up_at(table: str) -> Iterator["psycopg.Connection[Any]"]:
    """Whoever writes to the table next stays in the midst of its statement until this block ends."""
    at = connection.settings_dict
    where = {"host": at["HOST"], "port": at["PORT"], "user": at["USER"], "password": at["PASSWORD"]}
    with psycopg.connect(dbname=at["NAME"], autocommit=True, **where) as gate:
        gate.execute("SELECT pg_advisory_lock(20300107)")
        gate.execute(
            "CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock_shared(20300107); RETURN NEW; END $$"
        )
        gate.execute(
            f"CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION pass_the_gate()"
        )
        try:
            yield gate
        finally:
            gate.execute("SELECT pg_advisory_unlock(20300107)")
            gate.execute(f"DROP TRIGGER gate ON {table}")
            gate.execute("DROP FUNCTION pass_the_gate")


def somebody_waits(gate: "psycopg.Connection[Any]") -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND wait_event = 'advisory'"
    )
    row = gate.execute(query).fetchone()
    return row is not None and row[0] > 0


def test_workers_that_are_killed_in_the_midst_of_a_tick_leave_each_slot_to_be_made_once(
    system: Processes, automations: list[Automation]
) -> None:
    slots = planned()
    system.start("beat", **AHEAD)
    for table in KILLED_AT:
        with held_up_at(table) as gate:
            (worker,) = system.start("worker", **AHEAD)
            wait_until(lambda gate=gate: somebody_waits(gate), seconds=90, what=system.log)
            worker.kill()
            assert worker.wait() == -signal.SIGKILL
        # Nothing of what it had begun is there.
        assert not Execution.objects.exists()
        assert not Deviation.objects.filter(status=Deviation.Status.SCHEDULED).exists()
    system.start("worker", **AHEAD)
    wait_until(lambda: all_made(slots), seconds=90, what=system.log)
    assert_each_slot_has_one_work(slots)


def test_two_beats_and_two_workers_make_each_slot_once(system: Processes, automations: list[Automation]) -> None:
    slots = planned()
    system.start("beat", "beat", "worker", "worker", **AHEAD)
    wait_until(lambda: all_made(slots), seconds=90, what=system.log)
    assert_each_slot_has_one_work(slots)
    # They go on: once a slot is made that came later, ticks have come that had none of those to make.
    account = automations[0].account
    assert account is not None
    another = make_automation(account, _rule(50), name="Another", zone="UTC")
    slots |= {rule.pk: rule.next_slot_at for rule in another.rules.all() if rule.next_slot_at is not None}
    wait_until(lambda: all_made(slots), seconds=90, what=system.log)
    assert_each_slot_has_one_work(slots)
