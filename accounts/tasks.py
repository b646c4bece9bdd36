from celery import shared_task

from accounts.services import notifying


@shared_task(name="notifications.send_due", ignore_result=True)
def send_due_notifications() -> None:
    notifying.send_due()
