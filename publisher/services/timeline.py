"""What happened to a work, in words that an artist understands; newest first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import AuditEvent
from deviations.models import Deviation
from publisher.models import Attempt

# How many of the newest entries are shown; a work has a few dozen in a bad life.
MOST = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``status`` colours it (as on the works' cards), ``raw`` is DeviantArt's own answer, if it gave one."""

    at: datetime
    status: str
    text: str
    detail: str = ""
    raw: str = ""
    future: bool = False


def timeline_of(deviation: Deviation) -> list[Entry]:
    """The entries of a work: what is to come, then what people and Isekai did, and every call to DeviantArt."""
    events = AuditEvent.objects.filter(subject_id=deviation.pk).select_related("user").order_by("-id")[:MOST]
    attempts = (
        Attempt.objects.filter(publication__deviation=deviation).select_related("publication").order_by("-id")[:MOST]
    )
    past = [*filter(None, map(_of_event, events)), *map(_of_attempt, attempts)]
    past.sort(key=lambda entry: entry.at, reverse=True)
    return [*_to_come(deviation), *past[:MOST]]


def _to_come(deviation: Deviation) -> Iterator[Entry]:
    if deviation.lease_id is not None or deviation.due_at is None:
        return
    if deviation.status == Deviation.Status.PUBLISHING:
        yield Entry(deviation.due_at, "publishing", _("We look again whether it is live"), future=True)
    elif deviation.status == Deviation.Status.SCHEDULED:
        text = _("Goes to DeviantArt") if not deviation.reason_code else _("We try again")
        yield Entry(deviation.due_at, "scheduled", text, future=True)


EVENTS: dict[str, tuple[str, str | Promise]] = {
    "deviation.created": ("draft", gettext_lazy("Made as a draft")),
    "deviation.approved": ("draft", gettext_lazy("Approved")),
    "deviation.scheduled": ("scheduled", gettext_lazy("Scheduled")),
    "deviation.rescheduled": ("scheduled", gettext_lazy("Moved to another time")),
    "deviation.cancelled": ("draft", gettext_lazy("Schedule cancelled")),
    "deviation.publish_now": ("scheduled", gettext_lazy("Publish now was asked for")),
    "deviation.retried": ("scheduled", gettext_lazy("Another try was asked for")),
    "deviation.trashed": ("draft", gettext_lazy("Put into the trash")),
    "deviation.restored": ("draft", gettext_lazy("Taken out of the trash")),
    "deviation.unconfirmed": (
        "publishing",
        gettext_lazy("DeviantArt did not answer clearly, so we look whether it is live before anything else"),
    ),
    "deviation.rescued": (
        "scheduled",
        gettext_lazy("The process that worked on it stopped, another one goes on from the same place"),
    ),
    "deviation.broken_off": (
        "scheduled",
        gettext_lazy("The service was being restarted and stopped working on it; it goes on from the same place"),
    ),
    "deviation.published": ("published", gettext_lazy("Published")),
    "deviation.published_by_hand": (
        "published",
        gettext_lazy("It was published from your Sta.sh before we could, so there was nothing left to do"),
    ),
    "deviation.in_the_stash": ("staged", gettext_lazy("Lies in your Sta.sh, as you wished")),
    "deviation.failed": ("failed", gettext_lazy("Failed")),
    "deviation.needs_decision": ("decision", gettext_lazy("Needs your decision")),
    "deviation.checked_again": ("publishing", gettext_lazy("Another look at DeviantArt was asked for")),
}


def _of_event(event: AuditEvent) -> Entry | None:
    known = EVENTS.get(event.verb)
    if known is None:
        return None
    status, text = known
    by = _("by %(user)s") % {"user": event.user.get_username()} if event.user else ""
    return Entry(event.at, status, str(text), detail=by)


def _of_attempt(attempt: Attempt) -> Entry:
    words = {
        Attempt.Step.SUBMIT: _words_of_submit,
        Attempt.Step.PUBLISH: _words_of_publish,
        Attempt.Step.LOOK_UP: _words_of_look_up,
    }
    say: Callable[[Attempt], tuple[str, str]] = words[Attempt.Step(attempt.step)]
    status, text = say(attempt)
    return Entry(attempt.ended_at or attempt.started_at, status, text, _detail(attempt), raw=attempt.answer)


def _words_of_submit(attempt: Attempt) -> tuple[str, str]:
    match attempt.outcome:
        case Attempt.Outcome.DONE:
            return "staged", _("The file arrived in your Sta.sh")
        case Attempt.Outcome.REFUSED:
            return "failed", _("The file did not arrive at DeviantArt")
        case Attempt.Outcome.UNKNOWN:
            return "scheduled", _(
                "DeviantArt did not say whether the file arrived; a copy that nobody sees may lie in your Sta.sh"
            )
        case _:
            return "uploading", _("Uploading the file")


def _words_of_publish(attempt: Attempt) -> tuple[str, str]:
    match attempt.outcome:
        case Attempt.Outcome.DONE:
            return "published", _("DeviantArt published it")
        case Attempt.Outcome.REFUSED:
            return "failed", _("DeviantArt did not publish it")
        case Attempt.Outcome.UNKNOWN:
            return "publishing", _("DeviantArt did not say whether it published it")
        case _:
            return "publishing", _("Asked DeviantArt to publish it")


def _words_of_look_up(attempt: Attempt) -> tuple[str, str]:
    if attempt.outcome != Attempt.Outcome.DONE:
        return "publishing", _("Looked in your gallery, but DeviantArt did not answer")
    if attempt.remote_ids.get("deviationid"):
        return "published", _("Found it in your gallery")
    return "publishing", _("Looked in your gallery, and could not recognise it there yet")


REFUSALS: dict[str, str | Promise] = {
    "RATE_LIMIT": gettext_lazy("DeviantArt asked us to slow down."),
    "AUTH_ERROR": gettext_lazy("DeviantArt no longer lets us act for this account."),
    "TOKEN_EXPIRED": gettext_lazy("The access had run out and was renewed."),
    "NETWORK_ERROR": gettext_lazy("DeviantArt could not be reached."),
    "VALIDATION_ERROR": gettext_lazy("DeviantArt refused what the work holds."),
    "SERVER_ERROR": gettext_lazy("DeviantArt had a fault of its own."),
    "QUOTA_EXCEEDED": gettext_lazy("DeviantArt takes no more works of this account today."),
    "UNKNOWN": gettext_lazy("DeviantArt answered something that we do not understand."),
}
NOT_MADE: dict[str, str | Promise] = {
    "stored_file_changed": gettext_lazy("The stored file is not the one that you uploaded, so it was not sent."),
    "stored_file_missing": gettext_lazy("The file is no longer in our storage, so nothing was sent."),
    "storage_unavailable": gettext_lazy("Our storage did not answer, so nothing was sent."),
    "pace": gettext_lazy("DeviantArt lets this account go slowly, so the rest of the look waits for its turn."),
    "rate_limit": gettext_lazy("DeviantArt asked us to slow down."),
    "service_stopped": gettext_lazy("The service was being restarted before DeviantArt had answered."),
    "too_late_to_send": gettext_lazy("Too much time had passed, so nothing was sent."),
}


def _detail(attempt: Attempt) -> str:
    if attempt.outcome == Attempt.Outcome.DONE:
        return ""
    why: Any = attempt.remote_ids.get("why", "")
    return str(REFUSALS.get(attempt.category) or NOT_MADE.get(str(why)) or "")
