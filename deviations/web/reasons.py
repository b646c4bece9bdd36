"""Why a work failed, waits or asks: from a code to what happened, what we did, and what its owner can do."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from deviations.models import Deviation
from deviations.web.moments import moment


@dataclass(frozen=True, slots=True)
class Reason:
    """``short`` fits under a title in a list; ``what`` and ``then`` are the two sentences of a banner."""

    short: str
    what: str
    then: str


def reason_of(work: Deviation, *, zone: ZoneInfo, now: datetime) -> Reason | None:
    """Why the work is where it is, if that needs an explanation."""
    values = {
        "title": work.title or _("Untitled"),
        "description": str(work.reason_params.get("description", "")).rstrip(". "),
    }
    if work.status == Deviation.Status.PUBLISHING and work.unconfirmed_since is not None:
        return _being_confirmed(values)
    if work.status in {Deviation.Status.FAILED, Deviation.Status.NEEDS_DECISION}:
        return _REASONS.get(work.reason_code, _unexplained)(values)
    if work.status == Deviation.Status.SCHEDULED and work.account is not None and work.account.is_held:
        until = work.account.not_before
        values |= {"account": work.account.username, "until": moment(until, zone, now) if until else ""}
        return _HELD.get(work.account.held_because, _held_for_a_while)(values)
    return None


def _being_confirmed(values: dict[str, str]) -> Reason:
    return Reason(
        _("being confirmed"),
        _("DeviantArt did not say whether “%(title)s” is live.") % values,
        _("We are looking for it in your gallery, and settle it by ourselves. Until then nothing can be changed."),
    )


def _refused(values: dict[str, str]) -> Reason:
    then = _("We stopped at once. Change the work, then try again.")
    if values["description"]:
        then = _("It said: “%(description)s”. We stopped at once. Change the work, then try again.") % values
    return Reason(_("DeviantArt refused it"), _("DeviantArt refused “%(title)s”.") % values, then)


def _tried_too_often(values: dict[str, str]) -> Reason:
    return Reason(
        _("DeviantArt did not take it"),
        _("“%(title)s” did not get through.") % values,
        _("We tried several times and then stopped. Nothing was published. Try again when DeviantArt is well."),
    )


def _item_lost(values: dict[str, str]) -> Reason:
    return Reason(
        _("it vanished from the Sta.sh"),
        _("DeviantArt lost the uploaded file of “%(title)s”, twice.") % values,
        _("Nothing was published. Try again; the file is uploaded anew."),
    )


def _partial(values: dict[str, str]) -> Reason:
    return Reason(
        _("a part is live, a part failed"),
        _("A part of “%(title)s” is live, and a part failed.") % values,
        _("What is live stays as it is. When you try again, only the rest is sent."),
    )


def _our_fault(values: dict[str, str]) -> Reason:
    return Reason(
        _("a mistake of ours"),
        _("Isekai made a mistake with “%(title)s”.") % values,
        _("We stopped, and nothing was published by it. Try again; if it comes back, tell the person who runs Isekai."),
    )


def _file_unusable(values: dict[str, str]) -> Reason:
    return Reason(
        _("its file cannot be used"),
        _("The file of “%(title)s” cannot be prepared for DeviantArt.") % values,
        _("Nothing was sent. Take the file out, and upload another one."),
    )


def _stored_file_changed(values: dict[str, str]) -> Reason:
    return Reason(
        _("its stored file has changed"),
        _("The stored file of “%(title)s” is not the one that you uploaded.") % values,
        _("Nothing was sent. Take the file out, upload it again, and tell the person who runs Isekai."),
    )


def _stored_file_missing(values: dict[str, str]) -> Reason:
    return Reason(
        _("its stored file is gone"),
        _("The file of “%(title)s” is not in storage any more.") % values,
        _("Nothing was sent. Take the file out, upload it again, and tell the person who runs Isekai."),
    )


def _unconfirmed(values: dict[str, str]) -> Reason:
    return Reason(
        _("live or not?"),
        _("Nobody can tell whether “%(title)s” is live.") % values,
        _("DeviantArt broke off in the middle. We looked, and could not be sure, so we did not publish it again."),
    )


def _stash_unconfirmed(values: dict[str, str]) -> Reason:
    return Reason(
        _("in the Sta.sh or not?"),
        _("Nobody can tell whether “%(title)s” is in your Sta.sh.") % values,
        _("DeviantArt broke off in the middle, so we did not upload it again. Look into your Sta.sh."),
    )


def _late(values: dict[str, str]) -> Reason:
    return Reason(
        _("too late: still publish it?"),
        _("“%(title)s” could not go out in time.") % values,
        _("It is so late that we ask first. Publish it now, choose another time, or take it off the schedule."),
    )


def _unexplained(values: dict[str, str]) -> Reason:
    return Reason(
        _("open it to see why"),
        _("“%(title)s” did not go out.") % values,
        _("What happened, step by step, is told below. Try again, or ask the person who runs Isekai."),
    )


def _login_lost(values: dict[str, str]) -> Reason:
    return Reason(
        _("login lost"),
        _("%(account)s lost its login.") % values,
        _("DeviantArt no longer takes our key. The work keeps its time and goes on once you connect again."),
    )


def _disconnected(values: dict[str, str]) -> Reason:
    return Reason(
        _("account disconnected"),
        _("%(account)s is disconnected.") % values,
        _("The work keeps its time. Connect the account again, or choose another one."),
    )


def _foreign_server(values: dict[str, str]) -> Reason:
    return Reason(
        _("connected elsewhere"),
        _("%(account)s was connected at another server.") % values,
        _("Nothing of it is sent to this one. Connect the account again here, or choose another one."),
    )


def _paused(values: dict[str, str]) -> Reason:
    return Reason(
        _("paused"),
        _("%(account)s is paused.") % values,
        _("The work keeps its time and goes out once the account is released."),
    )


def _rate_limit(values: dict[str, str]) -> Reason:
    return Reason(
        _("goes on %(until)s") % values,
        _("DeviantArt asked us to slow down."),
        _("%(account)s goes on %(until)s by itself. This counts as no failed try.") % values,
    )


def _quota(values: dict[str, str]) -> Reason:
    return Reason(
        _("goes on %(until)s") % values,
        _("%(account)s has used up what DeviantArt allows a day.") % values,
        _("It goes on %(until)s by itself, and the work keeps its place.") % values,
    )


def _held_for_a_while(values: dict[str, str]) -> Reason:
    return Reason(
        _("goes on %(until)s") % values,
        _("%(account)s cannot publish at the moment.") % values,
        _("It goes on %(until)s by itself, and the work keeps its place.") % values,
    )


_REASONS: dict[str, Callable[[dict[str, str]], Reason]] = {
    "refused": _refused,
    "tried_too_often": _tried_too_often,
    "item_lost": _item_lost,
    "partial": _partial,
    "our_fault": _our_fault,
    "file_unusable": _file_unusable,
    "stored_file_changed": _stored_file_changed,
    "stored_file_missing": _stored_file_missing,
    "unconfirmed": _unconfirmed,
    "stash_unconfirmed": _stash_unconfirmed,
    "late": _late,
}
_HELD: dict[str, Callable[[dict[str, str]], Reason]] = {
    "reauth_required": _login_lost,
    "disconnected": _disconnected,
    "foreign_server": _foreign_server,
    "paused": _paused,
    "rate_limit": _rate_limit,
    "quota": _quota,
}
