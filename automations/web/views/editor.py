"""The page of one automation: what it says, what is ahead of it, and what became of its last slots."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from accounts.models import DeviantArtAccount
from automations import slots as computed
from automations.errors import AutomationError, ConfirmationNeeded, FieldsRefused
from automations.models import Automation, Blackout
from automations.services.blackouts import add_blackout, remove_blackout, scheduled_within
from automations.services.editing import edit_as_a_whole, preview_as_a_whole
from automations.services.history import history_of
from automations.services.planning import zone_of
from automations.services.previewing import Preview, may_change_because, preview
from automations.services.reasons import explain_change
from automations.services.texts import known_variables
from automations.services.undoing import last_run_of
from automations.web.editor import Editor
from automations.web.forms import HolidaysForm
from automations.web.showing import Shower, is_short, lasts_sentence, moves_shown
from automations.web.views.finding import LOOKED_AT, find_automation, told, why
from deviations.web.moments import zone_place
from deviations.web.views.pages import SignedInRequest, back, page
from isekai import clock

# So many slots are shown beside the form, and so many runs.
SHOWN, RUNS = 12, 5
RUNS_A_PAGE = 50


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def editor(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """The page; POST saves all of it, or adds and takes out parts (`do`) without saving anything."""
    automation = find_automation(request, pk)
    if request.method != "POST":
        return _page(request, automation, Editor.of(automation, request.user))
    sent = Editor.sent(request.POST, automation, request.user)
    if what := request.POST.get("do", ""):
        return _without_saving(request, automation, sent, what)
    if not sent.is_valid():
        return _page(request, automation, sent, status=422)
    said = sent.form.cleaned_data
    try:
        edit_as_a_whole(
            automation,
            sent.said(),
            user=request.user,
            version=said["version"],
            confirm_moves=said["confirm_moves"],
        )
    except ConfirmationNeeded as question:
        zone = ZoneInfo(said["zone"] or request.user.time_zone)
        asked = {"question": str(question), "moves": moves_shown(question.details["moves"], zone)}
        return _page(request, automation, sent, status=409, **asked)
    except FieldsRefused as error:
        sent.note(error.details)
        return _page(request, automation, sent, status=422)
    except AutomationError as error:
        return _page(request, automation, sent, status=409, error=why(error))
    return back(request, _("Saved."), to=reverse("automations:editor", args=[pk]))


def _without_saving(request: SignedInRequest, automation: Automation, sent: Editor, what: str) -> HttpResponse:
    sent.do(what, request.POST)
    if not request.htmx:
        return _page(request, automation, sent, is_unsaved=True)
    template = "automations/_defaults.html" if "default" in what else "automations/_rules.html"
    response = render(request, template, {"editor": sent, "variables": known_variables()})
    return trigger_client_event(response, "automation:typed", after="settle")


def _page(
    request: SignedInRequest, automation: Automation, editor: Editor, *, status: int = 200, **context: Any
) -> HttpResponse:
    return page(
        request,
        "automations/editor.html",
        {
            "automation": automation,
            "editor": editor,
            "variables": known_variables(),
            "is_unsaved": status != 200,
            "here": "automations",
            "place": zone_place(ZoneInfo(zone_of(automation))),
            **_ahead(request, automation, preview(automation.workspace, as_if_on=automation, most=LOOKED_AT)),
            **_last_runs(request, automation),
            **_holidays(request, automation),
            **context,
        },
        status=status,
    )


# --- what is ahead ---------------------------------------------------------------------------------------------------
@login_required
@require_POST
@never_cache
def preview_unsaved(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """What would be ahead if what is typed were saved: a fragment."""
    automation = find_automation(request, pk)
    sent = Editor.sent(request.POST, automation, request.user)
    context: dict[str, Any] = {"automation": automation, "is_typed": True}
    if sent.is_valid():
        try:
            seen = preview_as_a_whole(automation, sent.said(), user=request.user, most=LOOKED_AT)
        except FieldsRefused as error:
            sent.note(error.details)
        except AutomationError as error:
            context["problems"] = [why(error)]
        else:
            context |= _ahead(request, automation, seen)
    if problems := sent.problems():
        context["problems"] = problems
    return render(request, "automations/_preview.html", context)


def _ahead(request: SignedInRequest, automation: Automation, seen: Preview) -> dict[str, Any]:
    found = seen.of(automation)
    said = found[0].automation if found else automation
    zone = found[0].zone if found else zone_of(automation)
    rules = {slot.rule.pk: slot.rule for slot in found if slot.rule is not None}
    return {
        "slots": Shower(request.user, zone=zone).slots(found[:SHOWN]),
        "more": len(found) - SHOWN,
        "is_cut": seen.is_cut,
        "lasts": lasts_sentence(seen, automation),
        "is_short": is_short(seen, automation),
        "changes": [explain_change(code) for code in may_change_because(said, rules.values())],
    }


# --- what was done ---------------------------------------------------------------------------------------------------
@login_required
@require_GET
@never_cache
def last_runs(request: SignedInRequest, pk: UUID) -> HttpResponse:
    automation = find_automation(request, pk)
    context = {"automation": automation, **_last_runs(request, automation)}
    return render(request, "automations/_last_runs.html", context)


def _last_runs(request: SignedInRequest, automation: Automation) -> dict[str, Any]:
    runs = history_of(automation).filter(slot_at__lte=clock.now())[:RUNS]
    shower = Shower(request.user, zone=zone_of(automation))
    return {"runs": shower.runs(runs, undoable=None), "undoable": last_run_of(automation)}


@login_required
@require_GET
@never_cache
def history(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Every slot that was made, by pages; those that are ahead first."""
    automation = find_automation(request, pk)
    found = Paginator(history_of(automation), RUNS_A_PAGE).get_page(request.GET.get("page"))
    zone = zone_of(automation)
    context = {
        "automation": automation,
        "found": found,
        "runs": Shower(request.user, zone=zone).runs(found.object_list, undoable=last_run_of(automation)),
        "place": zone_place(ZoneInfo(zone)),
        "here": "automations",
    }
    return page(request, "automations/history.html", context)


# --- holidays --------------------------------------------------------------------------------------------------------
def _accounts(request: SignedInRequest, automation: Automation) -> Any:
    """Where its works go."""
    accounts = DeviantArtAccount.objects.owned_by(request.user).connected().filter(workspace=automation.workspace_id)
    return (accounts.filter(pk=automation.account_id) if automation.account_id else accounts).order_by("username", "pk")


def _holidays(request: SignedInRequest, automation: Automation, form: HolidaysForm | None = None) -> dict[str, Any]:
    accounts = _accounts(request, automation)
    zone = zone_of(automation)
    ahead = Blackout.objects.filter(account__in=accounts).ending_after(computed.local_date_of(clock.now(), zone))
    blackouts = list(ahead.select_related("account").order_by("from_date", "pk"))
    scheduled = scheduled_within(blackouts, zone=zone)
    return {
        "holidays": form or HolidaysForm(accounts=accounts),
        "blackouts": [(each, scheduled[each.pk]) for each in blackouts],
        "has_several_accounts": len(accounts) > 1,
        "has_accounts": bool(accounts),
    }


@login_required
@require_POST
def add_holidays(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Days on which no automation posts to an account: not this one, and no other."""
    automation = find_automation(request, pk)
    form = HolidaysForm(request.POST, accounts=_accounts(request, automation))
    if form.is_valid():
        said = dict(form.cleaned_data)
        try:
            add_blackout(said.pop("account"), user=request.user, **said)
        except FieldsRefused as error:
            form.note(error.details)
        except AutomationError as error:
            form.add_error(None, why(error))
        else:
            return _holidays_changed(request, automation, _("No automation posts on these days."))
    if request.htmx:
        context = {"automation": automation, **_holidays(request, automation, form)}
        return render(request, "automations/_holidays.html", context, status=422)
    editor = Editor.of(automation, request.user)
    return _page(request, automation, editor, status=422, **_holidays(request, automation, form), is_unsaved=False)


@login_required
@require_POST
def remove_holidays(request: SignedInRequest, pk: UUID, blackout_id: UUID) -> HttpResponse:
    automation = find_automation(request, pk)
    blackout = get_object_or_404(Blackout.objects.owned_by(request.user), pk=blackout_id)
    try:
        remove_blackout(blackout, user=request.user)
    except AutomationError as error:
        return told(request, why(error), to=reverse("automations:editor", args=[pk]), is_error=True)
    return _holidays_changed(request, automation, _("Automations post on these days again."))


def _holidays_changed(request: SignedInRequest, automation: Automation, text: str) -> HttpResponse:
    if not request.htmx:
        return back(request, text, to=reverse("automations:editor", args=[automation.pk]))
    context = {"automation": automation, **_holidays(request, automation)}
    response = render(request, "automations/_holidays.html", context)
    return trigger_client_event(response, "automation:typed", after="settle")
