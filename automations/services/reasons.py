"""Why a slot scheduled nothing, or does not fire: from a code and its parameters to a sentence, made when it is shown.

The one place for all of them: the API, the pages and the history say the same. A code that nobody here knows, of
another release perhaps, still gets a sentence.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

When = Callable[[datetime], str]


def explain(code: str, params: Any = None, *, when: When = datetime.isoformat) -> str:
    """The sentence for a reason; empty for none. ``when`` says how a moment is written."""
    if not code:
        return ""
    known = _SENTENCES.get(code)
    if known is None:
        return _("For a reason that this release does not know (%(code)s).") % {"code": code}
    if callable(known):
        return known(_Params(params if isinstance(params, Mapping) else {}, when))
    return str(known)


class _Params:
    """What a sentence may name; parameters of another release may be anything."""

    def __init__(self, params: Mapping[str, Any], when: When) -> None:
        self.params, self.when = params, when

    def number(self, name: str, *, otherwise: int = 0) -> int:
        value = self.params.get(name)
        return value if type(value) is int else otherwise

    def moment(self, name: str) -> str:
        try:
            return self.when(datetime.fromisoformat(str(self.params.get(name))))
        except ValueError:
            return "?"


# --- why nothing, or less, was scheduled -----------------------------------------------------------------------------
def _few_left(params: _Params) -> str:
    least = params.number("least")
    return ngettext(
        "Fewer than %(least)s draft is left, and the rule keeps that many.",
        "Fewer than %(least)s drafts are left, and the rule keeps that many.",
        least,
    ) % {"least": least}


def _spacing(params: _Params) -> str:
    if params.params.get("by") == "series":
        return _("Every draft that is left is of the same series as the work before or after.")
    return _("Every draft that is left is in the same gallery as the work before or after.")


def _not_quiet(params: _Params) -> str:
    hours = params.number("hours")
    return ngettext(
        "Something goes out at %(when)s, and the rule asks for %(hours)s hour of quiet before.",
        "Something goes out at %(when)s, and the rule asks for %(hours)s hours of quiet before.",
        hours,
    ) % {"hours": hours, "when": params.moment("last_at")}


def _week_is_full(params: _Params) -> str:
    most = params.number("most")
    return ngettext(
        "The rule takes %(most)s work a week, and this week has it.",
        "The rule takes %(most)s works a week, and this week has them.",
        most,
    ) % {"most": most}


def _fewer(params: _Params) -> str:
    return _("It wanted %(wanted)s works and found %(taken)s.") % {
        "wanted": params.number("wanted"),
        "taken": params.number("taken"),
    }


def _missed_since(params: _Params) -> str:
    return _("Isekai was not running. All slots of this rule until %(until)s were missed, and nothing went out.") % {
        "until": params.moment("until")
    }


def _refused(params: _Params) -> str:
    works = params.number("works", otherwise=1)
    return ngettext(
        "With what the automation fills in, DeviantArt would not take %(works)s draft.",
        "With what the automation fills in, DeviantArt would not take %(works)s drafts.",
        works,
    ) % {"works": works}


_SENTENCES: dict[str, Promise | str | Callable[["_Params"], str]] = {
    "none_left": gettext_lazy("No draft is left that it may take. The slot stays free."),
    "few_left": _few_left,
    "spacing": _spacing,
    "not_quiet": _not_quiet,
    "week_is_full": _week_is_full,
    "fewer": _fewer,
    "blackout": gettext_lazy("This day is in the holidays, so nothing goes out."),
    "too_late": gettext_lazy("Isekai came to it too late to make up for it, so nothing went out."),
    "missed_since": _missed_since,
    "account_disconnected": gettext_lazy(
        "Its DeviantArt account is disconnected. Connect it again, or choose another one."
    ),
    "no_account": gettext_lazy("No DeviantArt account is connected."),
    "busy": gettext_lazy("Every draft that it could take was being changed at that moment."),
    "refused": _refused,
    "cancelled": gettext_lazy("What it had scheduled was taken off the schedule."),
    "undone": gettext_lazy("It was undone."),
    "automation_off": gettext_lazy("The automation is switched off."),
    "automation_paused": gettext_lazy("All automations are paused."),
    "rule_off": gettext_lazy("The rule is switched off."),
    "automation_not_valid": gettext_lazy(
        "The automation does not run on this day: its first is later, or its last is over."
    ),
    "rule_not_valid": gettext_lazy("The rule does not hold on this day: its first is later, or its last is over."),
    "weekday": gettext_lazy("The rule does not hold on this day of the week."),
    "time": gettext_lazy("The rule has no slot in this minute."),
    "not_leading": gettext_lazy("All rules have to hold, and another one says when. This one agrees or not."),
    "another_rule": gettext_lazy("All rules have to hold, and another one does not at this moment."),
    "made": gettext_lazy("This slot was made already."),
}


# --- what an undo leaves as it is ------------------------------------------------------------------------------------
def explain_left(code: str, title: str) -> str:
    """Why a work is left when a run is undone; see `undoing.Left`."""
    return str(_LEFT.get(code, _LEFT["busy"])) % {"title": title or _("Untitled")}


_LEFT: dict[str, Promise | str] = {
    "published": gettext_lazy("“%(title)s” is published."),
    "on_its_way": gettext_lazy("“%(title)s” is on its way already."),
    "moved": gettext_lazy("“%(title)s” has another time by now."),
    "taken_back": gettext_lazy("“%(title)s” was a draft already."),
    "trashed": gettext_lazy("“%(title)s” is in the trash."),
    "busy": gettext_lazy("“%(title)s” is being changed at this moment."),
}


# --- where a preview may come out otherwise --------------------------------------------------------------------------
def explain_change(code: str) -> str:
    """What would change a preview; see `previewing.may_change_because`."""
    return str(_CHANGES.get(code, ""))


_CHANGES: dict[str, Promise | str] = {
    "by_chance": gettext_lazy("By chance: each draft that you add or take away may change all later picks."),
    "newest_first": gettext_lazy("Newest first: a draft that you add goes before all others."),
    "as_sorted": gettext_lazy("As you sorted them: sorting drafts anew changes the order."),
    "by_title": gettext_lazy("By title: a new or changed title takes its place in the order."),
    "oldest_first": gettext_lazy("Oldest first: a draft that you add comes last."),
    "conditions": gettext_lazy("Conditions look at what else goes out and at how many drafts are left then."),
    "age": gettext_lazy("Drafts come of age, or grow too old, with each day."),
    "spacing": gettext_lazy("What goes out before and after a slot, by hand too, rules out some drafts."),
}
