"""One slot by hand, a test, and taking a run back."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from automations.errors import AutomationError
from automations.services.reasons import explain
from automations.services.running import look, run_now
from automations.services.testing import judge_minute
from automations.services.undoing import undo_run
from automations.web.showing import slot_time, tests_of, undone_sentence
from automations.web.views.finding import find_automation, told, why
from deviations.web.moments import moment
from deviations.web.views.pages import SignedInRequest, page, touched
from isekai import clock


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def run(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Ask first, with the drafts that go out, since DeviantArt takes nothing back; then schedule them for now."""
    automation = find_automation(request, pk)
    if request.method != "POST":
        context = {"automation": automation, "drafts": look(automation), "most": automation.jitter_max_seconds // 60}
        if request.htmx:
            return render(request, "automations/_run.html", context)
        return page(request, "automations/run.html", context | {"here": "automations"})
    to = reverse("automations:editor", args=[pk])
    try:
        done = run_now(automation, user=request.user)
    except AutomationError as error:
        return told(request, why(error), to=to, is_error=True)
    if not done.works:
        reason = explain(done.execution.reason_code, done.execution.reason_params, when=lambda at: _when(request, at))
        return told(request, reason or _("Nothing was scheduled."), to=to, is_error=True)
    text = ngettext("%(count)s work goes out, %(when)s", "%(count)s works go out, the first %(when)s", len(done.works))
    text %= {"count": len(done.works), "when": _when(request, done.works[0].publish_at)}
    undo = reverse("automations:undo", args=[pk, done.execution.run_id])
    return touched(told(request, text, to=to, undo=undo))


def _when(request: SignedInRequest, at: object) -> str:
    return moment(at, request.user.zone, clock.now())  # type: ignore[arg-type]


@login_required
@require_GET
@never_cache
def test(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Which rules fire in this minute, and why the others do not."""
    automation = find_automation(request, pk)
    judged = judge_minute(automation)
    context = {
        "automation": automation,
        "tests": tests_of(judged),
        "minute": slot_time(judged.at, request.user.zone),
    }
    if request.htmx:
        return render(request, "automations/_test.html", context)
    return page(request, "automations/test.html", context | {"here": "automations"})


@login_required
@require_POST
def undo(request: SignedInRequest, pk: UUID, run_id: UUID) -> HttpResponse:
    automation = find_automation(request, pk)
    to = reverse("automations:editor", args=[pk])
    try:
        undone = undo_run(automation, user=request.user, run_id=run_id)
    except AutomationError as error:
        return told(request, why(error), to=to, is_error=True)
    return touched(told(request, undone_sentence(undone), to=to, is_error=bool(undone.left)))
