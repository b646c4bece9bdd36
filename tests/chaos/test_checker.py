"""The checker sees each broken promise in a history that was made up for it, and none in one that is well."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.checker import PROMISES, Evidence, File, Part, Rows, Told, Verdict, Work, check
from tests.chaos.history import KEPT, Action, Said, Struck

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()
WORKSPACE, ANNA, BERT = "workspace", "account-anna", "account-bert"
OWN = File("file", "originals/workspace/file", "original", "sha")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(NOON + seconds, UTC).isoformat()


class World:
    """One work, scheduled for noon and published at noon; each test changes what it is about."""

    def __init__(self) -> None:
        self.actions = [
            Action("work", "made", NOON - 60, NOON - 60, None, Said(None, "Pool", ANNA), reached=False),
            self.action("schedule", -50, Said(NOON, "Pool", ANNA)),
        ]
        self.struck: list[Struck] = []
        self.work: dict[str, Any] = {"status": "published", "reason": "", "account": ANNA, "files": (OWN,)}
        self.parts = [Part("work", "file", "published", ANNA, "dev-1", "url")]
        self.told: list[Told] = []
        self.audited: set[tuple[str, str]] = set()
        self.requests: list[dict[str, Any]] = []
        self.items: list[dict[str, Any]] = []
        self.deviations: list[dict[str, Any]] = []
        self.stored = {OWN.key: "original"}
        self.leaks: list[str] = []
        self.remembered = {"dev-2"}
        self.submit(-1)
        self.publish(0.1)

    def action(self, name: str, at: float, said: Said, *, status: int | None = 200, answered: float = 0.1) -> Action:
        return Action("work", name, NOON + at, None if status is None else NOON + at + answered, status, said)

    def ask(self, name: str, at: float, said: Said, **options: Any) -> None:
        self.actions.append(self.action(name, at, said, **options))

    def call(self, path: str, at: float, **values: Any) -> dict[str, Any]:
        call = {
            "id": len(self.requests) + 1,
            "path": f"/api/v1/oauth2{path}",
            "time": iso(at),
            "username": "anna",
            "status": 200,
            "delivered": True,
            "committed": False,
            "fault": None,
            "sha256": None,
            "itemid": None,
            "deviationid": None,
            "ended_at": iso(at),
            **values,
        }
        self.requests.append(call)
        return call

    def submit(self, at: float, *, itemid: int = 1, username: str = "anna", sha256: str = "sha") -> None:
        self.call("/stash/submit", at, itemid=itemid, username=username, sha256=sha256, committed=True)
        item = {"itemid": itemid, "username": username, "sha256": sha256, "delivered": True}
        self.items.append(item)

    def publish(self, at: float, *, itemid: int = 1, deviationid: str = "dev-1", **values: Any) -> None:
        """A publish call that made a deviation."""
        call = self.call("/stash/publish", at, itemid=itemid, deviationid=deviationid, sha256="sha", committed=True)
        call |= {name: value for name, value in values.items() if name in call}
        deviation = {
            "deviationid": deviationid,
            "itemid": itemid,
            "username": "anna",
            "title": "Pool",
            "sha256": "sha",
            "published_at": iso(at + 0.05),
            "is_deleted": False,
            "seeded": False,
        }
        deviation |= {name: value for name, value in values.items() if name in deviation}
        self.deviations.append(deviation)

    def unpublished(self) -> None:
        self.deviations.clear()
        self.requests = [call for call in self.requests if call["deviationid"] is None]
        self.parts, self.remembered = [], {"dev-1"}

    def verdict(self) -> Verdict:
        work = Work(id="work", workspace=WORKSPACE, title="Pool", **self.work)
        return check(
            Evidence(
                ledger={"requests": self.requests, "items": self.items, "deviations": self.deviations},
                actions=self.actions,
                struck=self.struck,
                rows=Rows(
                    {"work": work},
                    self.parts,
                    self.told,
                    frozenset(self.audited),
                    frozenset(self.remembered),
                    usernames={ANNA: "anna", BERT: "bert"},
                    workspaces={ANNA: WORKSPACE, BERT: "another workspace"},
                ),
                stored=self.stored,
                leaks=self.leaks,
            )
        )

    def broken(self) -> set[str]:
        verdict = self.verdict()
        assert set(verdict.broken) == set(PROMISES)
        return {promise for promise, cases in verdict.broken.items() if cases}


@pytest.fixture
def world() -> World:
    return World()


def test_a_work_that_was_published_at_its_time_breaks_nothing(world: World):
    verdict = world.verdict()
    assert world.broken() == set()
    assert (verdict.counts["accepted"], verdict.counts["published"], verdict.is_kept) == (1, 1, True)
    assert verdict.lateness == [pytest.approx(0.1, abs=0.001)]


# --- INV-1: lost -----------------------------------------------------------------------------------------------------
def test_a_work_whose_row_is_gone_is_lost(world: World):
    world.work |= {"status": "missing"}
    world.unpublished()
    assert world.broken() == {"lost"}


def test_a_scheduled_work_that_is_a_draft_without_anybody_having_cancelled_it_is_lost(world: World):
    world.work |= {"status": "draft"}
    world.unpublished()
    assert world.broken() == {"lost"}


@pytest.mark.parametrize("status", [200, None])
def test_a_draft_that_was_cancelled_or_may_have_been_is_not_lost(world: World, status: int | None):
    world.ask("cancel", -40, Said(None), status=status)
    world.work |= {"status": "draft"}
    world.unpublished()
    assert world.broken() == set()


def test_a_cancel_that_was_refused_explains_no_draft(world: World):
    world.ask("cancel", -40, Said(KEPT), status=409)
    world.work |= {"status": "draft"}
    world.unpublished()
    assert world.broken() == {"lost"}


def test_what_was_scheduled_after_the_dump_that_was_put_back_is_forgotten_and_not_lost(world: World):
    world.struck.append(Struck("postgres_restored", "", NOON - 20, since=NOON - 55))
    world.work |= {"status": "draft"}
    world.unpublished()
    assert world.broken() == set()


def test_what_was_scheduled_before_the_dump_is_lost_all_the_same(world: World):
    world.struck.append(Struck("postgres_restored", "", NOON - 20, since=NOON - 30))
    world.work |= {"status": "draft"}
    world.unpublished()
    assert world.broken() == {"lost"}


def test_a_published_work_that_is_in_no_gallery_is_lost(world: World):
    world.unpublished()
    assert world.broken() == {"lost"}


def test_a_published_work_for_the_stash_is_lost_without_its_item(world: World):
    world.unpublished()
    world.work |= {"stash_only": True}
    assert world.broken() == set()
    world.items.clear()
    assert world.broken() == {"lost"}


# --- INV-2: doubled --------------------------------------------------------------------------------------------------
def test_two_live_deviations_of_one_file_are_doubled(world: World):
    world.publish(10, deviationid="dev-2")
    assert world.broken() == {"doubled"}


def test_a_second_deviation_after_a_restored_dump_is_doubled_too(world: World):
    world.struck.append(Struck("postgres_restored", "", NOON + 5, since=NOON - 55))
    world.publish(10, deviationid="dev-2")
    assert world.broken() == {"doubled"}


def test_what_the_artist_deleted_by_hand_does_not_count(world: World):
    world.publish(10, deviationid="dev-2", is_deleted=True)
    assert world.broken() == set()


# --- INV-3: blind repeats --------------------------------------------------------------------------------------------
LOST = {"status": None, "delivered": False, "committed": False}


@pytest.mark.parametrize(
    "answer",
    [LOST, {"status": 502, "delivered": True}, {"status": 200, "delivered": False}, {"status": 200, "fault": "blank"}],
)
def test_a_call_without_a_true_answer_that_is_repeated_at_once_is_blind(world: World, answer: dict[str, Any]):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, **answer)
    world.publish(2)
    world.parts = [Part("work", "file", "published", ANNA, "dev-1", "url")]
    assert world.broken() == {"blind_repeats"}


def test_a_repeat_after_a_look_is_not_blind(world: World):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, **LOST)
    world.call("/gallery/all", 1)
    world.publish(2)
    assert world.broken() == set()


def test_a_look_into_somebody_elses_gallery_is_none(world: World):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, **LOST)
    world.call("/gallery/all", 1, username="bert")
    world.publish(2)
    assert world.broken() == {"blind_repeats"}


def test_the_same_item_may_be_repeated_once_the_first_call_is_certainly_over(world: World):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, **LOST)
    world.publish(8)
    assert world.broken() == set()


def test_a_new_upload_while_the_outcome_is_unknown_is_blind_however_late(world: World):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, **LOST)
    world.submit(20, itemid=2)
    world.publish(21, itemid=2)
    assert world.broken() == {"blind_repeats"}


def test_a_refusal_is_an_answer(world: World):
    world.unpublished()
    world.call("/stash/publish", 0.1, itemid=1, status=429)
    world.publish(1)
    assert world.broken() == set()


# --- INV-4: early, after a cancel ------------------------------------------------------------------------------------
def test_a_call_more_than_a_second_before_its_time_is_early(world: World):
    world.unpublished()
    world.publish(-1.2)
    assert world.broken() == {"early"}


def test_a_call_within_a_second_before_its_time_is_not(world: World):
    world.unpublished()
    world.publish(-0.8)
    assert world.broken() == set()


def test_a_work_that_was_put_off_is_early_at_its_former_time(world: World):
    world.ask("reschedule", -30, Said(NOON + 600, "Pool", ANNA))
    assert world.broken() == {"early"}


def test_a_work_that_may_have_been_put_off_may_go_out_at_either_time(world: World):
    world.ask("reschedule", -30, Said(NOON + 600), status=None)
    assert world.broken() == set()


def test_a_change_that_was_still_being_answered_may_not_be_in_force_yet(world: World):
    world.ask("reschedule", -0.1, Said(NOON + 600, "Pool", ANNA), answered=5)
    assert world.broken() == set()


def test_what_goes_out_after_a_confirmed_cancel_breaks_the_promise(world: World):
    world.ask("cancel", -30, Said(None))
    assert "after_cancel" in world.broken()


def test_a_cancel_that_a_restored_dump_has_forgotten_is_not_held_against_it(world: World):
    world.ask("cancel", -30, Said(None))
    world.struck.append(Struck("postgres_restored", "", NOON - 10, since=NOON - 40))
    assert world.broken() == set()


def test_what_was_scheduled_again_after_a_cancel_goes_out(world: World):
    world.ask("cancel", -30, Said(None))
    world.ask("schedule", -20, Said(NOON - 5, "Pool", ANNA))
    assert world.broken() == set()


# --- INV-5: the right artist, bytes and words ------------------------------------------------------------------------
def test_a_work_in_somebody_elses_gallery_is_seen(world: World):
    world.deviations[0]["username"] = "bert"
    assert world.broken() == {"cross_owner"}


def test_bytes_of_nobody_are_seen(world: World):
    world.deviations[0]["sha256"] = "other"
    assert "cross_owner" in world.broken()


def test_an_item_of_somebody_else_is_seen(world: World):
    world.items[0]["username"] = "bert"
    assert world.broken() == {"cross_owner"}


def test_words_from_before_an_accepted_edit_are_stale(world: World):
    world.ask("edit", -30, Said(NOON, "Lake", ANNA))
    assert world.broken() == {"stale"}
    world.deviations[0]["title"] = "Lake"
    assert world.broken() == set()


def test_either_word_will_do_while_nobody_knows_whether_the_edit_was_done(world: World):
    world.ask("edit", -30, Said(KEPT, "Lake"), status=None)
    assert world.broken() == set()


# --- INV-6, INV-7 ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["scheduled", "uploading", "publishing"])
def test_what_has_not_ended_is_stuck(world: World, status: str):
    world.unpublished()
    world.work |= {"status": status}
    assert world.broken() == {"stuck"}


def test_a_failed_work_needs_a_reason_a_message_and_an_event(world: World):
    world.unpublished()
    world.work |= {"status": "failed", "reason": "refused"}
    assert world.broken() == {"unreported"}
    world.told.append(Told(WORKSPACE, "work_failed", {"deviation_id": "work"}))
    assert world.broken() == {"unreported"}
    world.audited.add(("work", "deviation.failed"))
    assert world.broken() == set()
    world.work |= {"reason": ""}
    assert world.broken() == {"unreported"}


def test_one_message_may_tell_of_many_late_works(world: World):
    world.unpublished()
    world.work |= {"status": "needs_decision", "reason": "late"}
    world.audited.add(("work", "deviation.needs_decision"))
    world.told.append(Told(WORKSPACE, "works_late", {"count": 3}))
    assert world.broken() == set()


@pytest.mark.parametrize("status", ["failed", "draft"])
def test_a_work_that_is_live_and_says_otherwise_is_untrue(world: World, status: str):
    world.ask("cancel", -30, Said(None), status=None)
    world.work |= {"status": status, "reason": "refused" if status == "failed" else ""}
    world.told.append(Told(WORKSPACE, "work_failed", {"deviation_id": "work"}))
    world.audited.add(("work", "deviation.failed"))
    assert world.broken() == {"untrue"}


def test_a_work_that_calls_another_deviation_its_own_is_untrue(world: World):
    world.remembered = {"dev-1"}
    world.parts = [Part("work", "file", "published", ANNA, "dev-9", "url")]
    assert world.broken() == {"untrue"}


# --- evidence --------------------------------------------------------------------------------------------------------
def test_an_answer_that_came_and_is_not_written_down_is_forgotten(world: World):
    world.parts = [Part("work", "file", "published", ANNA)]
    assert world.broken() == {"forgotten"}
    world.struck.append(Struck("kill_publisher", "", NOON + 1))
    assert world.broken() == set()


def test_an_answer_that_a_restored_dump_does_not_have_may_be_asked_about(world: World):
    world.parts = [Part("work", "file", "waiting", ANNA)]
    world.work |= {"status": "needs_decision", "reason": "restored"}
    world.struck.append(Struck("postgres_restored", "", NOON + 20, since=NOON - 5))
    assert "forgotten" not in world.broken()
    # The dump was made when it was known already.
    world.struck[-1] = Struck("postgres_restored", "", NOON + 20, since=NOON + 5)
    assert "forgotten" in world.broken()


def test_an_answer_that_a_restored_dump_does_not_have_may_not_be_passed_over(world: World):
    world.parts = [Part("work", "file", "waiting", ANNA)]
    world.struck.append(Struck("postgres_restored", "", NOON + 20, since=NOON - 5))
    world.work |= {"status": "draft"}
    assert "forgotten" in world.broken()


# --- INV-8, INV-9 ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stored", [{}, {OWN.key: "other"}])
def test_an_original_that_is_gone_or_changed_is_seen(world: World, stored: dict[str, str]):
    world.stored = stored
    assert world.broken() == {"bytes"}


def test_a_secret_that_was_seen_is_reported(world: World):
    world.leaks.append("isk_12… in 03-web.log")
    assert world.broken() == {"secrets"}


# --- what was counted ------------------------------------------------------------------------------------------------
def test_lost_answers_are_counted_by_what_they_did(world: World):
    world.call("/stash/publish", 3, itemid=1, **LOST)
    world.call("/stash/publish", 20, itemid=1, **{**LOST, "committed": True})
    verdict = world.verdict()
    assert (verdict.publish_answers, verdict.lost_before, verdict.lost_after) == (3, 1, 1)


def test_a_work_that_nobody_scheduled_is_a_draft_and_not_accepted(world: World):
    world.unpublished()
    world.actions = world.actions[:1]
    world.work |= {"status": "draft"}
    verdict = world.verdict()
    assert world.broken() == set()
    assert (verdict.counts["accepted"], verdict.counts["drafts"], verdict.counts["cancelled"]) == (0, 1, 0)
