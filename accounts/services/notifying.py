"""Tell people what they have to know: rows first, mail later, so that no mail server can delay or undo anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.errors import MessageError
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership, Notification, User, Workspace
from isekai import clock, queue

logger = structlog.get_logger(__name__)

# How long after each failed try the next follows; after the last one it is given up, and stays visible as unsent.
RETRY_AFTER = [
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(days=1),
]
# Shorter than the first wait above: no second worker takes up what the first is still sending.
MAIL_SECONDS = 20
BATCH = 100


@dataclass(frozen=True, slots=True)
class Words:
    """A subject and a text, in which ``%(name)s`` stands for a parameter of the notification or for one of ``more``."""

    subject: str | Promise
    text: str | Promise
    more: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda _params: {}


_WORDS: dict[str, Words] = {}


def describe(
    kind: str,
    *,
    subject: str | Promise,
    text: str | Promise,
    more: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda _params: {},
) -> None:
    """Say how notifications of ``kind`` read; each app does so for its own kinds when it is loaded.

    ``more``: from its parameters to what else the text names, in the language of whoever reads it.
    """
    _WORDS[kind] = Words(subject, text, more)


describe(
    "login_lost",
    subject=_("Connect %(username)s again"),
    text=_(
        "DeviantArt no longer lets Isekai act for %(username)s. Its works keep their times and wait. "
        "Connect the account again, and they go on: %(public_url)s/connect/"
    ),
)
describe(
    "account_disconnected",
    subject=_("%(username)s was disconnected"),
    text=_(
        "The people who run this installation have ended its connection to %(username)s at DeviantArt. The works of "
        "this account keep their times and wait. Connect it again, and they go on: %(public_url)s/connect/"
    ),
)
describe(
    "login_ends_soon",
    subject=_("The login of %(username)s ends on %(ends_on)s"),
    text=_(
        "For a while now DeviantArt has not let Isekai renew its login for %(username)s, which ends on %(ends_on)s. "
        "Isekai goes on trying. To be sure, connect the account again before that day: %(public_url)s/connect/"
    ),
)
describe(
    "login_ends_tomorrow",
    subject=_("Urgent: the login of %(username)s ends within a day"),
    text=_(
        "Isekai could not renew its login for %(username)s at DeviantArt, and it ends on %(ends_on)s. From then on the "
        "works of this account wait, with their times kept. Connect it again now, and they do not have to: "
        "%(public_url)s/connect/"
    ),
)
describe(
    "client_refused",
    subject=_("DeviantArt refuses this installation"),
    text=_(
        "DeviantArt does not accept DEVIANTART_CLIENT_ID or DEVIANTART_CLIENT_SECRET of %(public_url)s. "
        "No account lost its login; nothing goes out until the two values are right again."
    ),
)


def notify(
    kind: str, *, workspace: Workspace | None, user: User | None = None, dedupe_key: str | None = None, **params: Any
) -> None:
    """Queue a message to ``user``, else to the owners of ``workspace``, else to the operators.

    ``params`` must be JSON and never hold a secret. With a ``dedupe_key`` that was used before nothing is made: one
    message a cause.
    """
    message = Notification(kind=kind, workspace=workspace, user=user, dedupe_key=dedupe_key, params=params)
    Notification.objects.bulk_create([message], ignore_conflicts=dedupe_key is not None)
    queue.send("notifications.send_due")


def send_due() -> int:
    """Send what is due, and return how much was sent. Any number of workers may do this at the same time.

    A message is claimed by moving its next try ahead, which is committed before the mail server is asked: one that
    this process dies with is sent again by that next try, and no two workers send the same.
    """
    sent = 0
    for _turn in range(BATCH):
        message = _claim()
        if message is None:
            break
        sent += _send(message)
    return sent


def recipients_of(message: Notification) -> list[User]:
    """Whom it goes to, read now: rights may have changed since it was made."""
    if message.user is not None:
        return [message.user] if message.user.is_active else []
    people = User.objects.filter(is_active=True)
    if message.workspace_id is not None:
        owners = people.filter(memberships__workspace_id=message.workspace_id, memberships__role=Membership.Role.OWNER)
        return list(owners.order_by("pk"))
    return list(people.filter(is_staff=True).order_by("pk"))


def text_of(message: Notification, *, language: str) -> tuple[str, str]:
    """Its subject and text."""
    words = _WORDS.get(message.kind, Words(_("News from Isekai"), _("Something happened: %(kind)s")))
    params: Mapping[str, Any] = {**message.params, "kind": message.kind, "public_url": settings.PUBLIC_URL}
    with translation.override(language):
        # A subject with a line break could smuggle in headers.
        return " ".join((str(words.subject) % params).split()), str(words.text) % {**params, **words.more(params)}


def _claim() -> Notification | None:
    with transaction.atomic(durable=True):
        message = (
            Notification.objects.filter(
                sent_at__isnull=True, due_at__lte=clock.DatabaseNow(), attempts__lt=len(RETRY_AFTER)
            )
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("user")
            .order_by("due_at", "pk")
            .first()
        )
        if message is not None:
            message.due_at = clock.database_now() + RETRY_AFTER[message.attempts]
            message.attempts += 1
            message.save(update_fields=["due_at", "attempts"])
    return message


def _send(message: Notification) -> bool:
    people = [person for person in recipients_of(message) if person.email]
    if not people:
        logger.info("notification_has_no_address", notification_id=message.pk, kind=message.kind)
        return False
    subject, text = text_of(message, language=people[0].language)
    mail = EmailMessage(subject, text, to=[person.email for person in people])
    try:
        get_connection(timeout=MAIL_SECONDS).send_messages([mail])
    except (OSError, MessageError, ValueError) as error:
        # SMTP's own errors are OSErrors.
        logger.warning("notification_not_sent", notification_id=message.pk, error=type(error).__name__)
        return False
    Notification.objects.filter(pk=message.pk).update(sent_at=clock.database_now())
    logger.info("notification_sent", notification_id=message.pk, kind=message.kind)
    return True
