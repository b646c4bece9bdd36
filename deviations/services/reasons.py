"""Why a work failed, waits or asks: from a code and its parameters to sentences, made when they are shown.

The one place for all of them: the API, the pages and the messages say the same. A code that nobody here knows, of
another release perhaps, still gets a sentence.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from deviations.models import Deviation

Values = dict[str, str]


@dataclass(frozen=True, slots=True)
class Reason:
    """``short`` fits under a title in a list; ``what`` happened and what follows ``then`` are two sentences."""

    code: str
    short: str
    what: str
    then: str

    def __str__(self) -> str:
        return f"{self.what} {self.then}"


def reason_of(work: Deviation, *, when: Callable[[datetime], str]) -> Reason | None:
    """Why the work is where it is, if that needs an explanation; ``when`` says how a moment is written."""
    status = work.status
    if status == Deviation.Status.PUBLISHING and work.unconfirmed_since is not None:
        return _made("unconfirmed", _being_confirmed, _values(work.title, {}))
    if status in {Deviation.Status.FAILED, Deviation.Status.NEEDS_DECISION}:
        return explain(work.reason_code, work.reason_params, title=work.title, status=status)
    if status == Deviation.Status.SCHEDULED and work.account is not None and work.account.is_held:
        until = work.account.not_before
        values = {"account": work.account.username, "until": when(until) if until else ""}
        code = work.account.held_because
        return _made(code, _HELD.get(code, _held_for_a_while), values)
    if status in {Deviation.Status.SCHEDULED, Deviation.Status.PUBLISHING}:
        return _waiting(work)
    return None


def explain(code: str, params: Any, *, title: str, status: str) -> Reason:
    """Why a work is *failed* or *needs_decision*."""
    known = _ENDS | (_DECISIONS if status == Deviation.Status.NEEDS_DECISION else {})
    return _made(code, known.get(code, _unexplained), _values(title, params))


def held_installation(code: str) -> Reason:
    """Why nothing of the whole installation goes out."""
    return _made(code, _INSTALLATION.get(code, _installation_held), {})


def _made(code: str, words: Callable[[Values], tuple[str, str, str]], values: Values) -> Reason:
    return Reason(code, *words(values))


def _values(title: str, params: Any) -> Values:
    """What sentences may name; parameters of another release may be anything."""
    description = params.get("description") if isinstance(params, Mapping) else None
    said = description.rstrip(". ") if isinstance(description, str) else ""
    return {"title": title or _("Untitled"), "description": said}


def _waiting(work: Deviation) -> Reason | None:
    """Why a work was let go on its way, while nobody works on it; it goes on by itself."""
    code = work.reason_code
    if not code or code in _TOO_SHORT_TO_TELL or work.lease_id is not None:
        return None
    return _made(code, _WAITS.get(code, _goes_on), _values(work.title, work.reason_params))


# --- what is over, or needs its owner --------------------------------------------------------------------------------
def _being_confirmed(values: Values) -> tuple[str, str, str]:
    return (
        _("being confirmed"),
        _("DeviantArt did not say whether “%(title)s” is live.") % values,
        _("We are looking for it in your gallery, and settle it by ourselves. Until then nothing can be changed."),
    )


def _refused(values: Values) -> tuple[str, str, str]:
    then = _("We stopped at once. Change the work, then try again.")
    if values["description"]:
        then = _("It said: “%(description)s”. We stopped at once. Change the work, then try again.") % values
    return _("DeviantArt refused it"), _("DeviantArt refused “%(title)s”.") % values, then


def _tried_too_often(values: Values) -> tuple[str, str, str]:
    return (
        _("DeviantArt did not take it"),
        _("“%(title)s” did not get through.") % values,
        _("We tried several times and then stopped. Nothing was published. Try again when DeviantArt is well."),
    )


def _item_lost(values: Values) -> tuple[str, str, str]:
    return (
        _("it vanished from the Sta.sh"),
        _("DeviantArt lost the uploaded file of “%(title)s”, twice.") % values,
        _("Nothing was published. Try again; the file is uploaded anew."),
    )


def _partly_failed(values: Values) -> tuple[str, str, str]:
    return (
        _("a part is live, a part failed"),
        _("A part of “%(title)s” is live, and a part failed.") % values,
        _("What is live stays as it is. When you try again, only the rest is sent."),
    )


def _our_fault(values: Values) -> tuple[str, str, str]:
    return (
        _("a mistake of ours"),
        _("Isekai made a mistake with “%(title)s”.") % values,
        _("We stopped, and nothing was published by it. Try again; if it comes back, tell the person who runs Isekai."),
    )


def _crashed(values: Values) -> tuple[str, str, str]:
    return (
        _("it made Isekai fall over"),
        _("The process that worked on “%(title)s” died three times, at last with this work alone.") % values,
        _("We set it aside so that your other works go on. Save its file anew and replace it, then try again."),
    )


def _service_stopped(values: Values) -> tuple[str, str, str]:
    return (
        _("broken off by a restart"),
        _("Isekai was restarted while “%(title)s” was being uploaded.") % values,
        _("Nothing was published. Try again; the file is uploaded anew."),
    )


def _file_unusable(values: Values) -> tuple[str, str, str]:
    return (
        _("its file cannot be used"),
        _("The file of “%(title)s” cannot be prepared for DeviantArt.") % values,
        _("Nothing was sent. Take the file out, and upload another one."),
    )


def _stored_file_changed(values: Values) -> tuple[str, str, str]:
    return (
        _("its stored file has changed"),
        _("The stored file of “%(title)s” is not the one that you uploaded.") % values,
        _("Nothing was sent. Take the file out, upload it again, and tell the person who runs Isekai."),
    )


def _stored_file_missing(values: Values) -> tuple[str, str, str]:
    return (
        _("its stored file is gone"),
        _("The file of “%(title)s” is not in storage any more.") % values,
        _("Nothing was sent. Take the file out, upload it again, and tell the person who runs Isekai."),
    )


def _unexplained(values: Values) -> tuple[str, str, str]:
    return (
        _("open it to see why"),
        _("“%(title)s” did not go out.") % values,
        _("Its timeline tells what happened, step by step. Try again, or ask the person who runs Isekai."),
    )


# --- what a person decides -------------------------------------------------------------------------------------------
def _unconfirmed(values: Values) -> tuple[str, str, str]:
    return (
        _("live or not?"),
        _("Nobody can tell whether “%(title)s” is live.") % values,
        _(
            "DeviantArt broke off in the middle. We looked, and could not be sure, so we did not publish it again. "
            "Look into your gallery, and say what you see."
        ),
    )


def _partly_unknown(values: Values) -> tuple[str, str, str]:
    return (
        _("is all of it live?"),
        _("Nobody can tell whether every part of “%(title)s” is live.") % values,
        _("What certainly is live stays as it is. Look into your gallery, and say which of the others you see there."),
    )


def _restored(values: Values) -> tuple[str, str, str]:
    return (
        _("live already?"),
        _("“%(title)s” may be live already.") % values,
        _(
            "The database of Isekai was restored from a backup and has forgotten what happened since. Something in "
            "your gallery may be this work, so we do not publish it before you have said what you see there."
        ),
    )


def _stash_unconfirmed(values: Values) -> tuple[str, str, str]:
    return (
        _("in the Sta.sh or not?"),
        _("Nobody can tell whether “%(title)s” is in your Sta.sh.") % values,
        _(
            "DeviantArt broke off in the middle, so we did not upload it again. Look into your Sta.sh, and say what "
            "you see."
        ),
    )


def _late(values: Values) -> tuple[str, str, str]:
    return (
        _("too late: still publish it?"),
        _("“%(title)s” could not go out in time.") % values,
        _("It is so late that we ask first. Publish it now, choose another time, or take it off the schedule."),
    )


def _awaited_in_the_stash(values: Values) -> tuple[str, str, str]:
    return (
        _("waiting for an answer"),
        _("Whoever uploaded “%(title)s” to your Sta.sh was cut off.") % values,
        _("Its answer may come yet. If it does not, we ask you what you see there, rather than upload it twice."),
    )


# --- what waits for its account --------------------------------------------------------------------------------------
def _login_lost(values: Values) -> tuple[str, str, str]:
    return (
        _("login lost"),
        _("%(account)s lost its login.") % values,
        _("DeviantArt no longer takes our key. The work keeps its time and goes on once you connect again."),
    )


def _disconnected(values: Values) -> tuple[str, str, str]:
    return (
        _("account disconnected"),
        _("%(account)s is disconnected.") % values,
        _("The work keeps its time. Connect the account again, or choose another one."),
    )


def _foreign_server(values: Values) -> tuple[str, str, str]:
    return (
        _("connected elsewhere"),
        _("%(account)s was connected at another server.") % values,
        _("Nothing of it is sent to this one. Connect the account again here, or choose another one."),
    )


def _paused(values: Values) -> tuple[str, str, str]:
    return (
        _("paused"),
        _("%(account)s is paused.") % values,
        _("The work keeps its time and goes out once the account is released."),
    )


def _rate_limit(values: Values) -> tuple[str, str, str]:
    return (
        _("goes on %(until)s") % values,
        _("DeviantArt asked us to slow down."),
        _("%(account)s goes on %(until)s by itself. This counts as no failed try.") % values,
    )


def _quota(values: Values) -> tuple[str, str, str]:
    return (
        _("goes on %(until)s") % values,
        _("%(account)s has used up what DeviantArt allows a day.") % values,
        _("It goes on %(until)s by itself, and the work keeps its place.") % values,
    )


def _held_for_a_while(values: Values) -> tuple[str, str, str]:
    return (
        _("goes on %(until)s") % values,
        _("%(account)s cannot publish at the moment.") % values,
        _("It goes on %(until)s by itself, and the work keeps its place.") % values,
    )


# --- what goes on by itself ------------------------------------------------------------------------------------------
def _try_later(values: Values) -> tuple[str, str, str]:
    return (
        _("we try again"),
        _("The last try for “%(title)s” did not get through.") % values,
        _("Nothing was published by it. We try again by ourselves."),
    )


def _item_vanished(values: Values) -> tuple[str, str, str]:
    return (
        _("we upload it again"),
        _("DeviantArt lost the uploaded file of “%(title)s”.") % values,
        _("Nothing was published. We upload it once more by ourselves."),
    )


def _file_not_ready(values: Values) -> tuple[str, str, str]:
    return (
        _("its file is being prepared"),
        _("The copy of “%(title)s” for DeviantArt is not ready yet.") % values,
        _("It goes on by itself as soon as it is."),
    )


def _storage_unavailable(values: Values) -> tuple[str, str, str]:
    return (
        _("our storage does not answer"),
        _("Our storage did not hand out the file of “%(title)s”.") % values,
        _("Nothing was sent. We try again by ourselves."),
    )


def _stored_file_not_found(values: Values) -> tuple[str, str, str]:
    return (
        _("its stored file is not to be found"),
        _("Our storage says that it has no file of “%(title)s”.") % values,
        _("Nothing was sent. We look for it again within some minutes, before we give up."),
    )


def _fault_so_far(values: Values) -> tuple[str, str, str]:
    return (
        _("a mistake of ours, we try again"),
        _("Isekai made a mistake with “%(title)s”.") % values,
        _("We try again by ourselves."),
    )


def _stopped(values: Values) -> tuple[str, str, str]:
    return (
        _("broken off by a restart, we go on"),
        _("Isekai was restarted while “%(title)s” was being uploaded.") % values,
        _("Nothing was published by it. It is uploaded anew by itself."),
    )


def _goes_on(values: Values) -> tuple[str, str, str]:
    return (
        _("goes on by itself"),
        _("“%(title)s” could not go on at once.") % values,
        _("It goes on by itself, and nothing of it was lost."),
    )


# --- what stops everybody --------------------------------------------------------------------------------------------
def _database_restored(_values: Values) -> tuple[str, str, str]:
    return (
        _("being compared with DeviantArt"),
        _("The database of Isekai is older than what was published last."),
        _("Nothing is sent before all galleries have been compared with it, so that nothing goes out twice."),
    )


def _clocks_disagree(_values: Values) -> tuple[str, str, str]:
    return (
        _("the clocks disagree"),
        _("The clocks of this installation and of DeviantArt are too far apart."),
        _("Nothing is sent before they agree, so that nothing goes out at the wrong time."),
    )


def _installation_held(_values: Values) -> tuple[str, str, str]:
    return (
        _("stopped for now"),
        _("This installation has stopped publishing."),
        _("All works keep their times and go on by themselves once that is over."),
    )


_ENDS: dict[str, Callable[[Values], tuple[str, str, str]]] = {
    "refused": _refused,
    "tried_too_often": _tried_too_often,
    "item_lost": _item_lost,
    "partial": _partly_failed,
    "our_fault": _our_fault,
    "crashed": _crashed,
    "service_stopped": _service_stopped,
    "file_unusable": _file_unusable,
    "stored_file_changed": _stored_file_changed,
    "stored_file_missing": _stored_file_missing,
    "unconfirmed": _unconfirmed,
    "stash_unconfirmed": _stash_unconfirmed,
    "restored": _restored,
    "late": _late,
}
# The same code says something else of a work that asks than of one that failed.
_DECISIONS: dict[str, Callable[[Values], tuple[str, str, str]]] = {"partial": _partly_unknown}
_HELD: dict[str, Callable[[Values], tuple[str, str, str]]] = {
    "reauth_required": _login_lost,
    "disconnected": _disconnected,
    "foreign_server": _foreign_server,
    "paused": _paused,
    "rate_limit": _rate_limit,
    "quota": _quota,
}
_WAITS: dict[str, Callable[[Values], tuple[str, str, str]]] = {
    "try_later": _try_later,
    "item_lost": _item_vanished,
    "file_not_ready": _file_not_ready,
    "storage_unavailable": _storage_unavailable,
    "stored_file_not_found": _stored_file_not_found,
    "our_fault": _fault_so_far,
    "service_stopped": _stopped,
    "stash_unconfirmed": _awaited_in_the_stash,
}
# Over before anybody has read a sentence about it.
_TOO_SHORT_TO_TELL = {"pace", "rescued"}
_INSTALLATION: dict[str, Callable[[Values], tuple[str, str, str]]] = {
    "restored": _database_restored,
    "clock": _clocks_disagree,
}
