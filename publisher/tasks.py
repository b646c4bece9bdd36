"""Celery's door to the publisher: ids in, one service call each."""

from uuid import UUID

from celery import shared_task

from publisher.services import (
    canary,
    clocks,
    deposits,
    dispatching,
    overdue,
    publishing,
    rescuing,
    restoring,
    settling,
    staging,
    withdrawing,
)


@shared_task(name="publisher.publish_next")
def publish_next(account_id: str) -> None:
    publishing.publish_next(UUID(account_id), keep_going=True)


@shared_task(name="publisher.dispatch")
def dispatch() -> None:
    dispatching.dispatch_due()


@shared_task(name="publisher.stage")
def stage() -> None:
    staging.stage_due()


@shared_task(name="publisher.stage_next")
def stage_next(account_id: str) -> None:
    staging.stage_next(UUID(account_id), keep_going=True)


@shared_task(name="publisher.rescue")
def rescue() -> None:
    rescuing.rescue_stuck()
    withdrawing.withdraw_answered()


@shared_task(name="publisher.find_urls")
def find_urls() -> None:
    settling.find_urls()


@shared_task(name="publisher.ask_about_late")
def ask_about_late() -> None:
    overdue.ask_about_late()


@shared_task(name="publisher.check_galleries")
def check_galleries() -> None:
    restoring.check_galleries()


@shared_task(name="publisher.recheck_clocks")
def recheck_clocks() -> None:
    clocks.recheck_clocks()


@shared_task(name="maintenance.forget_dead_workers")
def forget_dead_workers() -> None:
    rescuing.forget_dead_workers()
    canary.forget_dead_canaries()


@shared_task(name="maintenance.abandon_old_items")
def abandon_old_items() -> None:
    staging.abandon_old_items()


@shared_task(name="maintenance.forget_deposits")
def forget_deposits() -> None:
    deposits.forget_gone()
