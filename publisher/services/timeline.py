"""What happened to a work, in words that an artist understands; newest first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import AuditEvent
from deviations.models import Deviation
from deviations.services.reasons import explain, held_installation, reason_of
from publisher.models import Attempt, InstallationHold

# How many of the newest entries are shown; a work has a few dozen in a bad life.
MOST = 200
# What is uploaded at its moment begins a little before it.
AT_ITS_MOMENT = timedelta(seconds=1)


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
    of_its_account = Q(subject_id=deviation.account_id, verb__in=HOLDS) if deviation.account_id else Q(pk__in=[])
    found = AuditEvent.objects.filter(Q(subject_id=deviation.pk) | of_its_account)
    events = list(found.select_related("user").order_by("-id")[:MOST])
    attempts = (
        Attempt.objects.filter(publication__deviation=deviation).select_related("publication").order_by("-id")[:MOST]
    )
    plans = _plans(events)
    past = [
        *filter(None, (_of_event(event, deviation) for event in events)),
        *_of_holds(events, deviation),
        *(_of_attempt(attempt, ahead=_is_ahead(attempt, plans)) for attempt in attempts),
    ]
    past.sort(key=lambda entry: entry.at, reverse=True)
    return [*_to_come(deviation), *past[:MOST]]


def _to_come(deviation: Deviation) -> Iterator[Entry]:
    if deviation.lease_id is not None or deviation.due_at is None:
        return
    if deviation.status == Deviation.Status.PUBLISHING:
        is_in_doubt = deviation.unconfirmed_since is not None
        text = _("We look again whether it is live") if is_in_doubt else _("The rest of it goes to DeviantArt")
        yield Entry(deviation.due_at, "publishing", text, future=True)
    elif deviation.status == Deviation.Status.SCHEDULED:
        yield _next_try(deviation, deviation.due_at)


def _next_try(deviation: Deviation, at: datetime) -> Entry:
    hold = InstallationHold.objects.order_by("since").first()
    if hold is not None:
        return Entry(at, "held", _("Waits, as nothing goes out"), held_installation(hold.reason).what, future=True)
    reason = reason_of(deviation, when=datetime.isoformat)
    why = reason.what if reason else ""
    if deviation.account is not None and deviation.account.is_held:
        return Entry(at, "held", _("Waits for its account"), why, future=True)
    text = _("Goes to DeviantArt") if not deviation.reason_code else _("We try again")
    return Entry(at, "scheduled", text, why, future=True)


# --- what people and Isekai did --------------------------------------------------------------------------------------


EVENTS: dict[str, tuple[str, str | Promise]] = {
    "deviation.created": ("draft", gettext_lazy("Made as a draft")),
    "deviation.approved": ("draft", gettext_lazy("Approved")),
    "deviation.scheduled": ("scheduled", gettext_lazy("Scheduled")),
    "deviation.rescheduled": ("scheduled", gettext_lazy("Moved to another time")),
    "deviation.cancelled": ("draft", gettext_lazy("Schedule cancelled")),
    "deviation.publish_now": ("scheduled", gettext_lazy("Publish now was asked for")),
    "deviation.retried": ("scheduled", gettext_lazy("Another try was asked for")),
    "deviation.ready": ("draft", gettext_lazy("Made ready for automations")),
    "deviation.not_ready": ("draft", gettext_lazy("Kept from automations")),
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
    "deviation.question_withdrawn": (
        "publishing",
        gettext_lazy("DeviantArt's answer came in after all, so nobody need decide"),
    ),
    "deviation.settled_by_hand": ("decision", gettext_lazy("Somebody looked, and said that it is not live")),
    "deviation.confirmed_live": ("published", gettext_lazy("Somebody said where it is live, and we saw it there")),
    "deviation.confirmed_by_hand": (
        "published",
        gettext_lazy("Somebody said that it is live; we could not see it there, and took their word for it"),
    ),
    "deviation.recognised_after_restore": (
        "published",
        gettext_lazy("Found in your gallery, after the database had been restored from a backup"),
    ),
}
# What happened to the account of a work; told while the work waited.
HOLDS: dict[str, tuple[str, str | Promise]] = {
    "account.paused": ("held", gettext_lazy("Its account was paused")),
    "account.released": ("scheduled", gettext_lazy("Its account was released")),
    "account.login_lost": ("held", gettext_lazy("Its account lost its login, so it waits")),
    "account.login_recovered": ("scheduled", gettext_lazy("Its account has its login again")),
    "account.reconnected": ("scheduled", gettext_lazy("Its account was connected again")),
    "account.disconnected": ("held", gettext_lazy("Its account was disconnected, so it waits")),
}
_BEGINS_TO_WAIT = {"deviation.scheduled", "deviation.rescheduled", "deviation.publish_now", "deviation.retried"}
_WAITS_NO_MORE = {"deviation.cancelled", "deviation.published", "deviation.failed", "deviation.needs_decision"}


def _of_event(event: AuditEvent, deviation: Deviation) -> Entry | None:
    known = EVENTS.get(event.verb)
    if known is None or event.subject_id != deviation.pk:
        return None
    status, text = known
    return Entry(event.at, status, str(text), detail=" · ".join(filter(None, [_why(event, deviation), _by(event)])))


def _of_holds(events: Sequence[AuditEvent], deviation: Deviation) -> Iterator[Entry]:
    """What happened to the account while the work waited; ``events`` come newest first."""
    waits = False
    for event in reversed(events):
        if event.subject_id == deviation.pk:
            waits = event.verb not in _WAITS_NO_MORE and (waits or event.verb in _BEGINS_TO_WAIT)
        elif waits:
            status, text = HOLDS[event.verb]
            yield Entry(event.at, status, str(text), detail=_by(event))


def _by(event: AuditEvent) -> str:
    return _("by %(user)s") % {"user": event.user.get_username()} if event.user else ""


def _why(event: AuditEvent, deviation: Deviation) -> str:
    """The reason of an end, and where something is said to be live."""
    if event.verb in {"deviation.failed", "deviation.needs_decision"} and event.params.get("reason"):
        status = event.verb.removeprefix("deviation.")
        return explain(str(event.params["reason"]), event.params, title=deviation.title, status=status).short
    return str(event.params.get("url") or "")


def _plans(events: Sequence[AuditEvent]) -> list[tuple[datetime, datetime]]:
    """When the work was given which moment, newest first."""
    said = ((event.at, event.params.get("publish_at")) for event in events if event.verb in _BEGINS_TO_WAIT)
    return [(at, moment) for at, text in said if text and (moment := parse_datetime(str(text))) is not None]


def _is_ahead(attempt: Attempt, plans: Sequence[tuple[datetime, datetime]]) -> bool:
    """Whether an upload was made before the moment that the work then had."""
    if attempt.step != Attempt.Step.SUBMIT:
        return False
    moment = next((moment for at, moment in plans if at <= attempt.started_at), None)
    return moment is not None and attempt.started_at < moment - AT_ITS_MOMENT


# --- the calls to DeviantArt -----------------------------------------------------------------------------------------
def _of_attempt(attempt: Attempt, *, ahead: bool) -> Entry:
    words = {
        Attempt.Step.SUBMIT: _words_of_staging if ahead else _words_of_submit,
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


def _words_of_staging(attempt: Attempt) -> tuple[str, str]:
    match attempt.outcome:
        case Attempt.Outcome.DONE:
            return "staged", _("The file was uploaded ahead of time, and waits in your Sta.sh")
        case Attempt.Outcome.REFUSED:
            return "scheduled", _("The file could not be uploaded ahead of time; nothing is lost by that")
        case Attempt.Outcome.UNKNOWN:
            return "scheduled", _(
                "DeviantArt did not say whether the file arrived ahead of time; a copy that nobody sees may lie in "
                "your Sta.sh"
            )
        case _:
            return "uploading", _("Uploading the file ahead of time")


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
    "stored_file_missing": gettext_lazy("Our storage had no such file, so nothing was sent."),
    "storage_unavailable": gettext_lazy("Our storage did not answer, so nothing was sent."),
    "pace": gettext_lazy("DeviantArt lets this account go slowly, so the rest of the look waits for its turn."),
    "rate_limit": gettext_lazy("DeviantArt asked us to slow down."),
    "breaker": gettext_lazy("DeviantArt was out of order, so we waited."),
    "process_gone": gettext_lazy("The process that asked was gone before DeviantArt had answered."),
    "service_stopped": gettext_lazy("The service was being restarted before DeviantArt had answered."),
    "too_late_to_send": gettext_lazy("Too much time had passed, so nothing was sent."),
}


LOOKED: dict[str, str | Promise] = {
    "several": gettext_lazy("More than one work there could be it."),
    "rivals": gettext_lazy("Another work of yours with the same title could be meant."),
    "too_much_to_read": gettext_lazy("There is more in it than can be read through in one look."),
    "other_app": gettext_lazy("What has its title there was not submitted by Isekai."),
    "other_picture": gettext_lazy("What has its title there shows another picture."),
}


def _detail(attempt: Attempt) -> str:
    if attempt.settled_at is not None:
        return _("Somebody has looked since, and said that it made nothing live.")
    if attempt.outcome == Attempt.Outcome.DONE:
        return str(LOOKED.get(str(attempt.remote_ids.get("found", "")), ""))
    why: Any = attempt.remote_ids.get("why", "")
    return str(REFUSALS.get(attempt.category) or NOT_MADE.get(str(why)) or "")
