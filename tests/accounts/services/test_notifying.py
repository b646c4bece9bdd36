"""The outbox: who is told what, once, however many workers send and whatever the mail server does."""

import threading
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import ClassVar

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction

from accounts.models import Membership, Notification, User
from accounts.services import notifying
from accounts.services.notifying import notify, recipients_of, send_due, text_of
from accounts.tasks import send_due_notifications
from isekai import clock, queue
from tests.factories import UserFactory, workspace_of


@pytest.fixture
def user(db: None) -> User:
    return UserFactory(email="mira@example.org")


def lose(user: User, dedupe_key: str | None = None) -> None:
    notify("login_lost", workspace=workspace_of(user), username="mira", dedupe_key=dedupe_key)


def make_due() -> None:
    Notification.objects.update(due_at=clock.now() - timedelta(seconds=1))


class BrokenBackend(EmailBackend):
    """A mail server that hangs up."""

    def send_messages(self, messages: object) -> int:
        raise SMTPServerDisconnected("Connection unexpectedly closed")


def test_the_owners_of_a_workspace_are_told(user):
    member, stranger = UserFactory(email="helper@example.org"), UserFactory(email="stranger@example.org")
    Membership.objects.create(user=member, workspace=workspace_of(user))
    lose(user)
    assert send_due() == 1
    (message,) = mail.outbox
    assert message.to == ["mira@example.org"]
    assert message.subject == "Connect mira again"
    assert "http://localhost:4000/connect/" in message.body
    assert stranger.email not in str(message.message())


def test_one_person_is_told_when_it_is_about_one_person(user):
    other = UserFactory(email="other@example.org")
    notify("login_lost", workspace=workspace_of(user), user=other, username="mira")
    assert recipients_of(Notification.objects.get()) == [other]


def test_the_operators_are_told_what_is_about_the_installation(user):
    User.objects.create_superuser("operator", email="operator@example.org")
    User.objects.create_superuser("former", email="former@example.org", is_active=False)
    notify("client_refused", workspace=None)
    send_due()
    assert mail.outbox[0].to == ["operator@example.org"]


def test_what_was_sent_is_not_sent_again(user):
    lose(user)
    assert (send_due(), send_due()) == (1, 0)
    make_due()
    assert send_due() == 0
    assert len(mail.outbox) == 1


def test_one_message_a_cause(user):
    for _time in range(3):
        lose(user, dedupe_key="login_lost:1")
    lose(user, dedupe_key="login_lost:2")
    assert Notification.objects.count() == 2


def test_a_message_is_undone_with_what_it_tells_of(user):
    with transaction.atomic():
        lose(user)
        transaction.set_rollback(True)
    assert not Notification.objects.exists()


def test_a_wake_up_is_sent_and_not_needed(user, monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    monkeypatch.setattr(queue, "send", lambda *names: sent.append(names))
    lose(user)
    assert sent == [("notifications.send_due",)]
    assert send_due_notifications.name == "notifications.send_due"
    send_due_notifications()
    assert len(mail.outbox) == 1


def test_a_failing_mail_server_is_asked_later_and_given_up_in_the_end(user, settings):
    settings.EMAIL_BACKEND = f"{__name__}.{BrokenBackend.__name__}"
    lose(user)
    for number in range(len(notifying.RETRY_AFTER)):
        assert send_due() == 0
        message = Notification.objects.get()
        assert message.attempts == number + 1
        assert message.due_at - clock.now() == pytest.approx(notifying.RETRY_AFTER[number], abs=timedelta(seconds=30))
        # Not before its time.
        assert (send_due(), Notification.objects.get().attempts) == (0, number + 1)
        make_due()
    send_due()
    assert Notification.objects.get().attempts == len(notifying.RETRY_AFTER)
    assert Notification.objects.get().sent_at is None


def test_a_mail_server_that_comes_back_gets_what_waited(user, settings):
    settings.EMAIL_BACKEND = f"{__name__}.{BrokenBackend.__name__}"
    lose(user)
    send_due()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    make_due()
    assert send_due() == 1


def test_one_that_cannot_be_sent_holds_up_no_other(user):
    lose(UserFactory(email=""))
    lose(user)
    assert send_due() == 1


def test_no_words_can_smuggle_in_headers_or_placeholders(user):
    notify("login_lost", workspace=workspace_of(user), username="mira\r\nBcc: all@example.org %(public_url)s %s")
    subject, text = text_of(Notification.objects.get(), language="en")
    assert "\n" not in subject
    assert "%(public_url)s %s" in text
    assert send_due() == 1


def test_a_kind_without_words_is_told_all_the_same(user):
    notify("something_new", workspace=workspace_of(user))
    send_due()
    assert "something_new" in mail.outbox[0].body


def test_two_workers_send_nothing_twice(transactional_db, monkeypatch):
    users = UserFactory.create_batch(20, email="mira@example.org")
    for user in users:
        lose(user)
    together = threading.Barrier(4)
    sent: list[int] = []

    def work() -> None:
        together.wait(20)
        sent.append(send_due())
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(sent) == len(mail.outbox) == 20
    assert not Notification.objects.filter(sent_at__isnull=True).exists()


def test_no_transaction_is_open_while_the_mail_server_is_asked(transactional_db, settings):
    settings.EMAIL_BACKEND = f"{__name__}.{NotingBackend.__name__}"
    NotingBackend.inside.clear()
    lose(UserFactory(email="mira@example.org"))
    send_due()
    assert NotingBackend.inside == [False]


class NotingBackend(EmailBackend):
    inside: ClassVar[list[bool]] = []

    def send_messages(self, messages: object) -> int:
        self.inside.append(connection.in_atomic_block)
        return 1
