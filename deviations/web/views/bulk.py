"""What is done to all picked works at once: one request, one transaction, a result for each, and a way back."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from deviations.errors import DeviationError, TimeRefused
from deviations.services.changing import BulkResult
from deviations.services.readying import set_many_ready
from deviations.services.scheduling import cancel_many, publish_many_now, schedule_many
from deviations.services.trashing import restore_many, trash_many
from deviations.services.undoing import undo_change
from deviations.web.forms import PickedForm, WhenForm, sentences
from deviations.web.moments import moment
from deviations.web.showing import Card, for_cards
from deviations.web.views.pages import SignedInRequest, back, page, toast, touched, works_of
from isekai import clock

# Given how many works it was done to.
Told = Callable[[int], str]


@login_required
@require_POST
def schedule(request: SignedInRequest) -> HttpResponse:
    user = request.user
    when = WhenForm(request.POST, user=user)
    picked = PickedForm(request.POST)
    if not when.is_valid():
        return _when_refused(request, when)
    if not picked.is_valid():
        return nothing_picked(request, picked)
    try:
        result = schedule_many(works_of(request), user=user, ids=picked.cleaned_data["work"], **when.wish())
    except TimeRefused as error:
        when.choices = error.details.get("choices", [])
        when.add_error("time", str(error))
        return _when_refused(request, when)

    def told(count: int) -> str:
        at = when.wish()["local"].replace(tzinfo=user.zone, fold=when.cleaned_data["fold"] or 0)
        text = ngettext("%(count)s work scheduled for %(when)s", "%(count)s works scheduled for %(when)s", count)
        return text % {"count": count, "when": moment(at, user.zone, clock.now())}

    return answer(request, result, told, can_undo=True)


def _when_refused(request: SignedInRequest, when: WhenForm) -> HttpResponse:
    if not request.htmx:
        return back(request, sentences(when.errors), to="deviations:works", is_error=True)
    return render(request, "deviations/_bulk_when.html", {"when": when}, status=422)


@login_required
@require_POST
def unschedule(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        text = ngettext("%(count)s work taken off the schedule", "%(count)s works taken off the schedule", count)
        return text % {"count": count}

    return do(request, cancel_many, told, can_undo=True)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def publish(request: SignedInRequest) -> HttpResponse:
    """Ask first, with the number and the effect; then make all of them due."""
    if request.method == "POST":

        def told(count: int) -> str:
            return ngettext("%(count)s work goes out now", "%(count)s works go out now", count) % {"count": count}

        return do(request, publish_many_now, told)
    picked = PickedForm(request.GET)
    if not picked.is_valid():
        return nothing_picked(request, picked)
    works = picked.cleaned_data["work"]
    context = {"count": len(works), "works": works, "action": request.path}
    if request.htmx:
        return render(request, "deviations/_confirm_publish.html", context)
    return page(request, "deviations/confirm_publish.html", context)


@login_required
@require_POST
def ready(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        text = ngettext("%(count)s work is ready for automations", "%(count)s works are ready for automations", count)
        return text % {"count": count}

    return do(request, partial(set_many_ready, ready=True), told, can_undo=True)


@login_required
@require_POST
def not_ready(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        text = ngettext("%(count)s work is kept from automations", "%(count)s works are kept from automations", count)
        return text % {"count": count}

    return do(request, partial(set_many_ready, ready=False), told, can_undo=True)


@login_required
@require_POST
def trash(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        text = ngettext("%(count)s work moved to the trash", "%(count)s works moved to the trash", count)
        return text % {"count": count}

    return do(request, trash_many, told, can_undo=True)


@login_required
@require_POST
def restore(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        return ngettext("%(count)s work restored", "%(count)s works restored", count) % {"count": count}

    return do(request, restore_many, told)


@login_required
@require_POST
def undo(request: SignedInRequest, change: UUID) -> HttpResponse:
    picked = PickedForm(request.POST)
    if not picked.is_valid():
        return nothing_picked(request, picked)
    result = undo_change(works_of(request), user=request.user, bulk_id=change, ids=picked.cleaned_data["work"])

    def told(count: int) -> str:
        return ngettext("Undone for %(count)s work", "Undone for %(count)s works", count) % {"count": count}

    return answer(request, result, told, redraw=True)


# --- how it is answered ----------------------------------------------------------------------------------------------
def do(
    request: SignedInRequest, action: Callable[..., BulkResult], told: Told, *, can_undo: bool = False
) -> HttpResponse:
    picked = PickedForm(request.POST)
    if not picked.is_valid():
        return nothing_picked(request, picked)
    result = action(works_of(request), user=request.user, ids=picked.cleaned_data["work"])
    return answer(request, result, told, can_undo=can_undo)


def nothing_picked(request: SignedInRequest, picked: PickedForm) -> HttpResponse:
    text = sentences(picked.errors)
    if not request.htmx:
        return back(request, text, to="deviations:works", is_error=True)
    return HttpResponse(toast(request, text), status=422)


def answer(
    request: SignedInRequest, result: BulkResult, told: Told, *, can_undo: bool = False, redraw: bool = False
) -> HttpResponse:
    """The changed cards, a toast that says how many, and a list of those that refused, each with its reason.

    ``redraw``: works may have come back that the page does not show, so it fetches its whole list.
    """
    done = [item.id for item in result.items if item.deviation is not None]
    refused = [item for item in result.items if item.error is not None]
    text = told(len(done)) if done else _("Nothing was changed.")
    if not request.htmx:
        reasons = " ".join(_reason(item.error) for item in refused if item.error)
        return back(request, f"{text} {reasons}".strip(), to="deviations:works", is_error=bool(refused))
    user, now = request.user, clock.now()
    titles = dict(works_of(request).filter(pk__in=[item.id for item in refused]).values_list("pk", "title"))
    context: dict[str, Any] = {
        "cards": [] if redraw else [Card.of(one, zone=user.zone, now=now) for one in _shown(request, done)],
        "gone": [] if redraw else [item.id for item in result.items if item.deviation and item.deviation.trashed_at],
        "refused": [
            {"id": item.id, "title": titles[item.id] or _("Untitled"), "reason": _reason(item.error)}
            for item in refused
            if item.error is not None and item.id in titles
        ],
        "text": text,
        "change": result.id if can_undo and done else None,
        "works": done,
    }
    response = touched(render(request, "deviations/_bulk_done.html", context))
    if redraw:
        response["HX-Trigger"] = "works:many"
    return response


def _shown(request: SignedInRequest, ids: list[UUID]) -> Any:
    return for_cards(works_of(request).kept().filter(pk__in=ids))


def _reason(error: DeviationError) -> str:
    details = {name: reasons for name, reasons in error.details.items() if isinstance(reasons, list)}
    return sentences(details) or str(error)
