from celery import shared_task

from accounts.services import cleaning, maintaining, notifying


@shared_task(name="notifications.send_due", ignore_result=True)
def send_due_notifications() -> None:
    notifying.send_due()


@shared_task(name="maintenance.forget_expired", ignore_result=True)
def forget_expired() -> None:
    cleaning.forget_expired()
    cleaning.forget_refresh_leases()


@shared_task(name="maintenance.maintain_tokens", ignore_result=True)
def maintain_tokens() -> None:
    maintaining.maintain_tokens()
