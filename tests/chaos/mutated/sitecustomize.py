"""Run by Python itself when a process starts with this folder on its path: changes the engine as a mutant wants it.

Each change is made in the module that it is about, directly after that was loaded, and before anybody imports from it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Change = Callable[[ModuleType], None]


# --- unfenced --------------------------------------------------------------------------------------------------------
def claims_never_end(claiming: Any) -> None:
    from deviations.models import Deviation

    claiming._held = lambda claim: Deviation.objects.filter(pk=claim.deviation_id)
    unfenced = claiming.FINISH.replace("AND lease_id = %s", "AND %s::uuid IS NOT NULL")
    claiming.FINISH = unfenced.replace(claiming.WORKER_IS_ALIVE, "%s::uuid IS NOT NULL")


def attempts_need_no_lease(evidence: Any) -> None:
    evidence.FENCE = """
        SELECT d.id FROM deviations_deviation d
        WHERE d.id = %s AND %s::uuid IS NOT NULL AND %s::uuid IS NOT NULL FOR UPDATE
    """
    evidence.PUBLISH_FENCE = """
        UPDATE deviations_deviation d
        SET status = 'publishing', next_attempt_at = coalesce(next_attempt_at, clock_timestamp())
        WHERE d.id = %s AND %s::uuid IS NOT NULL AND %s::uuid IS NOT NULL RETURNING d.id
    """


def nobody_minds_having_slept(heartbeat: Any) -> None:
    def renew_worker(worker_id: Any, **_how: Any) -> bool:
        from isekai import clock
        from publisher.models import Worker

        return bool(Worker.objects.filter(pk=worker_id).update(alive_until=clock.DatabaseNow() + heartbeat._lease()))

    heartbeat.renew_worker = renew_worker


def nobody_looks_at_the_watch(job: Any) -> None:
    in_time = job.while_in_time
    job.while_in_time = lambda _seconds, **options: in_time(1e9, **options)


# --- blind_repeat ----------------------------------------------------------------------------------------------------
def an_unknown_outcome_is_uploaded_again(settling: Any) -> None:
    def settle(job: Any, publication: Any) -> bool:
        from publisher.models import StashItem
        from publisher.services import steps

        StashItem.objects.filter(publication=publication, state="in_hand").update(state="abandoned")
        return steps.bring_out(job, publication)

    settling.settle = settle


# --- unconditional_claim ---------------------------------------------------------------------------------------------
def whatever_is_on_its_way_is_waiting(models: Any) -> None:
    def waiting(self: Any) -> Any:
        return self.filter(status__in=["scheduled", "uploading", "publishing"], trashed_at__isnull=True)

    models.DeviationQuerySet.waiting = waiting


def claims_are_joined(claiming: Any) -> None:
    from dataclasses import replace

    from deviations.models import Deviation

    def claimable(**_options: bool) -> Any:
        able = claiming.DeviantArtAccount.objects.filter(claiming.able_accounts())
        due = Deviation.objects.due(claiming.clock.DatabaseNow() + claiming.CLAIM_AHEAD)
        return due.filter(claiming.in_time(), account__in=able)

    claiming.claimable = claimable
    claiming.CLAIM = claiming.CLAIM.replace(
        "worker_id = %s, lease_id = %s", "worker_id = coalesce(worker_id, %s), lease_id = coalesce(lease_id, %s)"
    )
    claim_next = claiming.claim_next

    def join(account_id: Any, worker_id: Any, **options: Any) -> Any:
        claim = claim_next(account_id, worker_id, **options)
        if claim is None:
            return None
        row = Deviation.objects.get(pk=claim.deviation_id)
        return replace(claim, worker_id=row.worker_id or worker_id, lease_id=row.lease_id or claim.lease_id)

    claiming.claim_next = join


# --- title_settles ---------------------------------------------------------------------------------------------------
def the_title_is_enough(recognising: Any) -> None:
    def recognise(reader: Any, publication: Any, *, calls: Sequence[Any]) -> Any:
        found = recognising._alike(reader, publication, since=min(call.started_at for call in calls))
        return recognising.Recognition(found[0].deviation if found else None, "none")

    recognising.recognise = recognise


# --- fenced_evidence -------------------------------------------------------------------------------------------------
def evidence_needs_the_lease(evidence: Any) -> None:
    def fenced(close: Callable[..., Any]) -> Callable[..., Any]:
        def only_while_held(attempt: Any, *positional: Any, **named: Any) -> Any:
            from deviations.models import Deviation
            from publisher.errors import ClaimLost
            from publisher.models import Publication, Worker

            holds = Deviation.objects.filter(lease_id=attempt.lease_id).exists()
            stages = Publication.objects.filter(stage_lease_id=attempt.lease_id).exists()
            if not (holds or stages) or not Worker.objects.alive().filter(pk=attempt.worker_id).exists():
                raise ClaimLost("Evidence of somebody who lost the lease.")
            return close(attempt, *positional, **named)

        return only_while_held

    for name in [name for name in vars(evidence) if name.startswith("close_")]:
        setattr(evidence, name, fenced(getattr(evidence, name)))


CHANGES: dict[str, dict[str, Change]] = {
    "unfenced": {
        "publisher.services.claiming": claims_never_end,
        "publisher.services.evidence": attempts_need_no_lease,
        "publisher.services.heartbeat": nobody_minds_having_slept,
        "publisher.services.job": nobody_looks_at_the_watch,
    },
    "blind_repeat": {"publisher.services.settling": an_unknown_outcome_is_uploaded_again},
    "unconditional_claim": {
        "deviations.models.deviations": whatever_is_on_its_way_is_waiting,
        "publisher.services.claiming": claims_are_joined,
    },
    "title_settles": {"publisher.services.recognising": the_title_is_enough},
    "fenced_evidence": {"publisher.services.evidence": evidence_needs_the_lease},
}


class Changing(importlib.abc.MetaPathFinder):
    """Finds the modules that are to be changed, as they are found otherwise, and changes them once they are loaded."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self.changes = dict(changes)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        change = self.changes.get(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


if mutant := os.environ.get("ISEKAI_MUTANT"):
    sys.meta_path.insert(0, Changing(CHANGES[mutant]))
