"""A run says when it says nothing, and understands its command line."""

from collections import Counter

import pytest

from tests.chaos.checker import PROMISES, Verdict
from tests.chaos.kinds import LEAST, chosen
from tests.chaos.mutants import MUTANTS
from tests.chaos.report import as_text, undecided_share
from tests.chaos.run import INVALID, main, shortcomings

KINDS = chosen("lost,redis_flush")
ENOUGH = {kind.name: LEAST for kind in KINDS}


def verdict(*, answers: int = 200, before: int = 10, after: int = 10, accepted: int = 100) -> Verdict:
    ends = ("works", "published", "failed", "cancelled", "needs_decision", "trashed", "drafts")
    counts = {**dict.fromkeys((*ends, *PROMISES), 0), "accepted": accepted}
    return Verdict(
        counts=counts,
        broken={promise: [] for promise in PROMISES},
        failed_by_reason=Counter(),
        undecided_by_reason=Counter(),
        lateness=[],
        publish_answers=answers,
        lost_before=before,
        lost_after=after,
    )


def test_a_run_with_enough_of_everything_is_valid():
    assert shortcomings(KINDS, ENOUGH, verdict()) == []


@pytest.mark.parametrize(
    ("faults", "found", "words"),
    [
        ({**ENOUGH, "redis_flush": LEAST - 1}, verdict(), "redis_flush was done 9 times of 10"),
        (ENOUGH, verdict(before=4, after=4), "less than 5 %"),
        (ENOUGH, verdict(before=19, after=1), "19 were lost before the commit, 1 after it"),
        (ENOUGH, verdict(accepted=0), "no work was accepted"),
    ],
)
def test_a_run_with_too_little_of_something_says_what(faults, found, words):
    (short,) = shortcomings(KINDS, faults, found)
    assert words in short


def test_lost_answers_are_only_asked_for_where_they_were_to_be_had():
    kinds = chosen("redis_flush")
    assert shortcomings(kinds, {"redis_flush": LEAST}, verdict(before=0, after=0)) == []


@pytest.mark.parametrize(
    "arguments",
    [["--faults", "sunspots"], ["--minutes", "0.1"], ["--mutant", "frankenstein"], ["--fast"]],
)
def test_what_cannot_be_understood_ends_before_anything_is_started(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == INVALID
    assert "usage: ./dev chaos" in capsys.readouterr().err


def test_every_promise_is_shown_with_its_count():
    shown = as_text(verdict(), {"redis_flush": 10}, healed_seconds=1, bound_seconds=90)
    assert [line.split() for line in shown.splitlines() if line.split()[:1] == ["doubled"]] == [["doubled", "0"]]
    assert all(promise in shown for promise in PROMISES)


def test_late_and_restored_works_do_not_count_against_the_target():
    found = verdict()
    found.undecided_by_reason.update({"late": 5, "restored": 3, "unconfirmed": 1})
    assert undecided_share(found) == pytest.approx(0.01)


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_each_mutant_breaks_promises_that_are_judged_by_faults_that_there_are(mutant):
    assert mutant.breaks <= set(PROMISES)
    assert mutant.breaks
    chosen(mutant.faults)
