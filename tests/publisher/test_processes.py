"""The publisher as it runs: real processes, PostgreSQL, Redis, S3 and a DeviantArt over HTTP; killed for real."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.models import Attempt, Publication, StashItem, Worker
from tests.connecting import connected_account
from tests.processes import Processes, wait_until
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# Where a publisher is killed while works are in its hands.
KILLED_AT = [
    "before_claim",
    "after_claim",
    "before_submit_intent",
    "submit_intended",
    "before_submit_sent",
    "file_read",
    "submit_answered",
    "item_committed",
    "before_publish_intent",
    "publish_intended",
    "before_publish_sent",
    "publish_answered",
    "publish_committed",
    "finished",
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=7) as sandbox:
        yield sandbox


def all_published() -> bool:
    return not Deviation.objects.exclude(status=Deviation.Status.PUBLISHED).exists()


def all_have_urls() -> bool:
    return not Publication.objects.filter(url="").exists()


def assert_each_went_out_once_with_its_own_url(sandbox: SandboxProcess, works: int) -> None:
    deviations = sandbox.ledger()["deviations"]
    assert len(deviations) == works
    assert set(Counter(each["sha256"] for each in deviations).values()) == {1}
    where = {each["sha256"]: (each["deviationid"], each["url"]) for each in deviations}
    for variant in FileVariant.objects.filter(kind=FileVariant.Kind.PUBLISH):
        publication = Publication.objects.get(file=variant.file_id)
        assert (publication.remote_deviation_id, publication.url) == where[variant.sha256]


def test_works_with_one_title_survive_a_publisher_that_is_killed_at_every_point(
    system: Processes, sandbox: SandboxProcess
):
    sandbox.profile(gallery_delay_seconds=5)
    for number in range(5):
        account = connected_account(sandbox, f"artist-{number}")
        make_works(account, 4, title=f"Study {number}", seed=number)
    system.start("beat")
    for point in KILLED_AT:
        system.kill_publisher_at(point)
        # On a slow machine the same work may be in hand each time, and none of these deaths is its own.
        Publication.objects.update(crashes=0)
    system.start("publisher")
    wait_until(all_published, seconds=90, what=lambda: statuses() + system.log())
    wait_until(all_have_urls, seconds=90, what=system.log)
    assert_each_went_out_once_with_its_own_url(sandbox, 20)


def statuses() -> str:
    return str(Counter(Deviation.objects.values_list("status", "reason_code")))


@pytest.mark.parametrize("fault", ["reset_after_commit", "reset_before"])
def test_a_publish_whose_answer_is_lost_ends_published_once_with_its_url(
    system: Processes, sandbox: SandboxProcess, fault: str
):
    make_works(connected_account(sandbox, "ash"), 1, title="Pool", seed=1)
    sandbox.faults([{"match": {"path": "/stash/publish", "nth": 1}, "do": fault}])
    system.start("publisher", "beat")
    wait_until(lambda: all_published() and all_have_urls(), seconds=60, what=lambda: statuses() + system.log())
    assert_each_went_out_once_with_its_own_url(sandbox, 1)
    first, *_rest = Attempt.objects.filter(step="publish").order_by("id")
    assert first.outcome == Attempt.Outcome.UNKNOWN


def test_two_publishers_and_two_beats_publish_each_work_once(system: Processes, sandbox: SandboxProcess):
    for number in range(4):
        make_works(connected_account(sandbox, f"artist-{number}"), 3, title="Same", seed=number)
    system.start("publisher", "publisher", "beat", "beat")
    wait_until(lambda: all_published() and all_have_urls(), seconds=90, what=lambda: statuses() + system.log())
    assert_each_went_out_once_with_its_own_url(sandbox, 12)
    ledger = sandbox.ledger()
    assert len(ledger["items"]) == 12


def test_a_work_leaves_at_its_second_and_never_early(system: Processes, sandbox: SandboxProcess):
    account = connected_account(sandbox, "ash")
    system.start("publisher")
    wait_until(lambda: "publisher_started" in system.log(), seconds=30, what=system.log)
    make_works(account, 1, title="On time", seed=1, ahead=timedelta(seconds=3))
    wait_until(all_published, seconds=30, what=lambda: statuses() + system.log())
    work = Deviation.objects.get()
    (live,) = sandbox.ledger()["deviations"]
    assert work.publish_at is not None
    assert datetime.fromisoformat(live["published_at"]) >= work.publish_at


# Where a publisher is killed while it uploads ahead of time.
KILLED_AHEAD_AT = ["stage_claimed", "stage_submitted", "stage_ended"]


def test_works_that_are_uploaded_ahead_survive_a_publisher_that_is_killed_there(
    system: Processes, sandbox: SandboxProcess
):
    for number in range(4):
        account = connected_account(sandbox, f"artist-{number}")
        make_works(account, 1, title=f"Coming {number}", seed=number, ahead=timedelta(seconds=150))
    system.start("beat", PUBLISHER_STAGE_AHEAD="18000")
    for point in KILLED_AHEAD_AT:
        system.kill_publisher_at(point, PUBLISHER_STAGE_AHEAD="18000")
    system.start("publisher", PUBLISHER_STAGE_AHEAD="18000")
    wait_until(lambda: StashItem.objects.filter(state="in_hand").count() == 4, seconds=60, what=system.log)
    assert sandbox.ledger()["deviations"] == []
    now = clock.now()
    Deviation.objects.update(scheduled_at=now, publish_at=now)
    wait_until(all_published, seconds=60, what=lambda: statuses() + system.log())
    assert_each_went_out_once_with_its_own_url(sandbox, 4)


def test_a_work_that_kills_its_process_again_and_again_is_set_aside_and_the_others_go_out(
    system: Processes, sandbox: SandboxProcess
):
    ash, birch = connected_account(sandbox, "ash"), connected_account(sandbox, "birch")
    (poison,) = make_works(ash, 1, title="Poison", seed=1)
    for _ in range(3):
        system.kill_publisher_at("submit_intended")
    make_works(ash, 1, title="Next", seed=2)
    make_works(birch, 1, title="Other", seed=3)
    system.start("publisher", "beat")
    wait_until(
        lambda: Deviation.objects.filter(status="published").count() == 2,
        seconds=60,
        what=lambda: statuses() + system.log(),
    )
    work = Deviation.objects.get(pk=poison)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "crashed")
    assert work.publications.get().crashes == 3


def test_a_publisher_that_is_asked_to_end_lets_its_row_run_out_at_once(system: Processes, sandbox: SandboxProcess):
    (publisher,) = system.start("publisher")
    wait_until(lambda: Worker.objects.alive().exists(), seconds=30, what=system.log)
    publisher.terminate()
    assert publisher.wait(30) == 0
    assert not Worker.objects.alive().exists()
