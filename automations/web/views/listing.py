"""The list of automations, and what is done there."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import AccountError
from accounts.models import Workspace
from accounts.services.workspaces import is_owner, set_drafts_are_ready, workspace_for
from accounts.web.redirects import safe_next
from automations.errors import AutomationError, FieldsRefused
from automations.services.arranging import duplicate as duplicate_automation
from automations.services.arranging import reorder as reorder_automations
from automations.services.changing import BulkResult
from automations.services.saving import create_automation, delete_automation
from automations.services.switching import go_on_many, pause_many, switch_off, switch_on
from automations.services.zones import moves_with_owner, zone_named
from automations.web.forms import BEGINNINGS, NewForm, new_rule_form
from automations.web.showing import Shower, moves_of_slots, rows_of
from automations.web.views.finding import (
    automations_of,
    find_automation,
    previews_of,
    told,
    why,
)
from deviations.web.moments import zone_place
from deviations.web.views.pages import SignedInRequest, back, page
from isekai.ids import new_id

LIST = "automations:list"


@login_required
@require_GET
@never_cache
def listing(request: SignedInRequest) -> HttpResponse:
    context = _context(request)
    if request.htmx:
        return render(request, "automations/_list.html", context)
    return page(request, "automations/list.html", context | {"owned": _owned(request), "here": "automations"})


def _owned(request: SignedInRequest) -> Workspace | None:
    """The workspace that the pages show, if the reader may say what holds for all of it."""
    try:
        workspace = workspace_for(request.user)
    except AccountError:
        return None
    return workspace if is_owner(workspace, request.user) else None


def _context(request: SignedInRequest) -> dict[str, Any]:
    automations = list(automations_of(request).prefetch_related("rules").order_by("position", "pk"))
    rows = rows_of(automations, previews_of(automations), request.user)
    return {
        "rows": rows,
        "are_paused": any(each.paused_at for each in automations),
        "can_pause": any(each.is_active for each in automations),
    }


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def new(request: SignedInRequest) -> HttpResponse:
    """A name and a first rule; everything else is said in the editor, where the automation is switched on, too."""
    form = NewForm(request.POST or None)
    status = 200
    if request.method == "POST":
        if form.is_valid():
            beginning = new_rule_form(form.cleaned_data["type"], new_id())
            try:
                automation = _begin(request, form.cleaned_data["name"], beginning.initial)
            except FieldsRefused as error:
                form.note(error.details)
            else:
                return redirect("automations:editor", automation.pk)
        status = 422
    context = {"form": form, "kinds": form.fields["type"].choices, "here": "automations"}  # type: ignore[attr-defined]
    return page(request, "automations/new.html", context, status=status)


def _begin(request: SignedInRequest, name: str, beginning: Any) -> Any:
    workspace = Workspace.objects.of(request.user).order_by("pk")[:1].get()
    return create_automation(workspace, user=request.user, name=name, rules=[_as_said(beginning)])


def _as_said(beginning: dict[str, Any]) -> dict[str, Any]:
    """The beginnings of the form in the fields of a rule."""
    kind = beginning["type"]
    assert kind in BEGINNINGS  # noqa: S101 - the form has looked
    said = {
        name: value
        for name, value in BEGINNINGS[kind].items()
        if name not in {"every", "unit"} and not name.startswith("week_")
    }
    if "every" in BEGINNINGS[kind]:
        said["interval_minutes"] = BEGINNINGS[kind]["every"] * BEGINNINGS[kind]["unit"]
    week = {day: BEGINNINGS[kind][f"week_{day}"] for day in range(7) if f"week_{day}" in BEGINNINGS[kind]}
    return {"type": kind, **said, **({"week": week} if week else {})}


# --- one of them -----------------------------------------------------------------------------------------------------
@login_required
@require_POST
def toggle(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Switch it on (`on` is sent) or off; without scripts the button sends it, with them the switch."""
    automation, is_on = find_automation(request, pk), "on" in request.POST
    to = request.POST.get("next") or reverse(LIST)
    try:
        (switch_on if is_on else switch_off)(automation, user=request.user)
    except AutomationError as error:
        return told(request, why(error), to=_safe(to), is_error=True)
    name = {"name": automation.name}
    text = _("“%(name)s” runs.") % name if is_on else _("“%(name)s” is off. What it has scheduled stays.") % name
    return told(request, text, to=_safe(to))


def _safe(to: str) -> str:
    return to if to.startswith("/automations/") else LIST


@login_required
@require_POST
def duplicate(request: SignedInRequest, pk: UUID) -> HttpResponse:
    try:
        copy = duplicate_automation(find_automation(request, pk), user=request.user)
    except AutomationError as error:
        return told(request, why(error), to=LIST, is_error=True)
    return told(request, _("“%(name)s” is made. It is off.") % {"name": copy.name}, to=LIST)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def delete(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Ask first, since its history goes with it; then delete it."""
    automation = find_automation(request, pk)
    if request.method != "POST":
        context = {"automation": automation}
        if request.htmx:
            return render(request, "automations/_delete.html", context)
        return page(request, "automations/delete.html", context | {"here": "automations"})
    try:
        delete_automation(automation, user=request.user)
    except AutomationError as error:
        return back(request, why(error), to=LIST, is_error=True)
    text = _("“%(name)s” is deleted. What it had scheduled stays scheduled.") % {"name": automation.name}
    return back(request, text, to=LIST)


# --- all of them -----------------------------------------------------------------------------------------------------
@login_required
@require_POST
def pause_all(request: SignedInRequest) -> HttpResponse:
    result = pause_many(automations_of(request), user=request.user)
    return _told_of_all(request, result, _("All automations are paused. What they have scheduled stays."))


@login_required
@require_POST
def go_on_all(request: SignedInRequest) -> HttpResponse:
    result = go_on_many(automations_of(request), user=request.user)
    return _told_of_all(request, result, _("Automations go on from their next slots."))


def _told_of_all(request: SignedInRequest, result: BulkResult, text: str) -> HttpResponse:
    """``text``, and why the first of those that could not be done was not."""
    held = [item.error for item in result.items if item.error is not None]
    return told(request, f"{text} {why(held[0])}" if held else text, to=LIST, is_error=bool(held))


@login_required
@require_POST
def new_drafts(request: SignedInRequest) -> HttpResponse:
    """Have new drafts be ready at once (`on` is sent), or only when somebody says so."""
    is_on = "on" in request.POST
    try:
        set_drafts_are_ready(workspace_for(request.user), user=request.user, ready=is_on)
    except AccountError as error:
        return told(request, str(error), to=LIST, is_error=True)
    text = _("New drafts are ready for automations at once.") if is_on else _("New drafts wait until you say so.")
    return told(request, text, to=LIST)


@login_required
@require_POST
def reorder(request: SignedInRequest) -> HttpResponse:
    """Take over the order of the rows (`automation`, several), or move the one that `up` or `down` names by a place."""
    ids = [pk for text in request.POST.getlist("automation") if (pk := _id_of(text))]
    for name, step in (("up", -1), ("down", 1)):
        moved = _id_of(request.POST.get(name, ""))
        if moved in ids:
            here = ids.index(moved)
            there = min(max(here + step, 0), len(ids) - 1)
            ids[here], ids[there] = ids[there], ids[here]
    try:
        reorder_automations(automations_of(request), user=request.user, ids=ids)
    except AutomationError as error:
        return told(request, why(error), to=LIST, is_error=True)
    if not request.htmx:
        return redirect(LIST)
    return render(request, "automations/_list.html", _context(request))


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# --- what is ahead ---------------------------------------------------------------------------------------------------
@login_required
@require_GET
@never_cache
def ahead(request: SignedInRequest) -> HttpResponse:
    """Every slot of all automations, as far as it can be shown at once."""
    automations = list(automations_of(request))
    seen = previews_of(automations)
    slots = sorted((slot for each in seen.values() for slot in each.slots), key=lambda slot: slot.at)
    context = {
        "slots": Shower(request.user).slots(slots),
        "is_cut": any(each.is_cut for each in seen.values()),
        "here": "automations",
    }
    return page(request, "automations/ahead.html", context)


@login_required
@require_GET
@never_cache
def moves(request: SignedInRequest) -> HttpResponse:
    """What moves if the reader chooses another time zone: a part of that choice, or the page that asks for the word."""
    try:
        zone = zone_named(request.GET.get("time_zone", ""))
    except AutomationError:
        return HttpResponse() if request.htmx else redirect("deviations:zone")
    found = moves_with_owner(automations_of(request), user=request.user, zone=zone)
    count = sum(len(each) for _automation, each in found)
    context = {
        "automations": [(automation, moves_of_slots(each[:3], request.user.zone)) for automation, each in found],
        "heading": ngettext(
            "%(count)s slot of the next four weeks moves", "%(count)s slots of the next four weeks move", count
        )
        % {"count": count},
        "time_zone": zone,
    }
    if request.htmx:
        return render(request, "automations/_zone_moves.html", context)
    place = zone_place(ZoneInfo(zone))
    return page(
        request, "automations/moves.html", context | {"place": place, "next": safe_next(request.GET.get("next", ""))}
    )
