"""The pages' fragments that speak of attempts and decisions, and what is decided there."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, retarget

from accounts.models import DeviantArtAccount
from deviations.errors import ConfirmationNeeded, DeviationError, TimeRefused
from deviations.models import Deviation
from deviations.services.changing import LATE, BulkResult
from deviations.services.reasons import held_installation
from deviations.web.forms import PickedForm, WhenForm, sentences
from deviations.web.moments import moment
from deviations.web.showing import Card, for_cards
from deviations.web.views.bulk import answer, do, nothing_picked
from deviations.web.views.pages import SignedInRequest, back, find_work, page, works_of
from deviations.web.views.work import act, done, only, refused
from isekai import clock
from publisher.models import InstallationHold
from publisher.services.confirming import confirm_live
from publisher.services.deciding import Way, decide_all_late, decide_many, late_of, look_again_at_many
from publisher.services.deciding import look_again as look_again_at
from publisher.services.timeline import timeline_of
from publisher.web.decisions import Decision, all_late
from publisher.web.forms import LiveForm, ManyForm, WayForm

# So many of an account's late works are shown with the question about all of them.
LATE_SHOWN = 12


@login_required
@require_GET
def timeline(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The timeline of a work, a fragment that the work's page embeds."""
    deviation = get_object_or_404(Deviation.objects.owned_by(request.user), pk=pk)
    context = {"deviation": deviation, "entries": timeline_of(deviation)}
    return render(request, "publisher/_timeline.html", context)


@require_GET
@never_cache
def holds(request: HttpRequest) -> HttpResponse:
    """Why nothing of the whole installation goes out at the moment; empty while everything may."""
    if not request.user.is_authenticated:
        return HttpResponse(status=204)
    held = [held_installation(hold.reason) for hold in InstallationHold.objects.order_by("since")]
    return render(request, "publisher/_holds.html", {"holds": held})


# --- one work --------------------------------------------------------------------------------------------------------
@login_required
@require_POST
def look_again(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Have DeviantArt asked once more about a work that needs a decision; answers as the work's page does."""
    return act(request, find_work(request, pk), look_again_at, _("We look at DeviantArt once more."))


@login_required
@require_GET
@never_cache
def decision(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """What is known of an undecided work and what is not, with all ways out: a fragment of its page, or a page."""
    found = find_work(request, pk)
    if found.status != Deviation.Status.NEEDS_DECISION:
        return HttpResponse() if request.htmx else redirect("deviations:work", pk)
    return _question(request, found)


@login_required
@require_POST
def live(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """It is live at the address that was sent; where that cannot be seen, the answer asks once more."""
    found, form = find_work(request, pk), LiveForm(request.POST)
    if not form.is_valid():
        return _question(request, found, said=request.POST.dict(), error=sentences(form.errors), status=422)
    said = form.cleaned_data
    try:
        changed = confirm_live(found, user=request.user, url=said["url"], file_id=said["file"], by_hand=said["by_hand"])
    except ConfirmationNeeded as question:
        return _question(request, found, said=said, doubt=str(question), status=409)
    except DeviationError as error:
        return _not_done(request, found, error, said=said)
    text = _("Live.") if changed.status == Deviation.Status.PUBLISHED else _("This part is live.")
    return _answered(done(request, found, changed, text))


@login_required
@require_POST
def decide(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """It is not live: publish it now, at another time or at its own, or make it a draft."""
    found, form = find_work(request, pk), WayForm(request.POST)
    if not form.is_valid():
        return _question(request, found, error=sentences(form.errors), status=422)
    said = form.said()
    when = WhenForm(request.POST, user=request.user, work=found)
    if said["way"] == Way.SCHEDULE and not when.is_valid():
        return _question(request, found, when=when, status=422)
    try:
        result = decide_many(works_of(request), user=request.user, ids=[pk], **said, **_wish(said["way"], when))
        changed = only(result)
    except TimeRefused as error:
        if said["way"] != Way.SCHEDULE:
            return _not_done(request, found, error)
        _add_time_error(when, error)
        return _question(request, found, when=when, status=422)
    except DeviationError as error:
        return _not_done(request, found, error)
    change = result.id if said["way"] in {Way.SCHEDULE, Way.KEEP_TIME} else None
    return _answered(done(request, found, changed, _told(request, said["way"], changed), change=change))


def _wish(way: Way, when: WhenForm) -> dict[str, Any]:
    return when.wish() if way == Way.SCHEDULE else {}


def _add_time_error(when: WhenForm, error: TimeRefused) -> None:
    when.choices = error.details.get("choices", [])
    when.add_error("time", str(error))


def _told(request: SignedInRequest, way: Way, changed: Deviation) -> str:
    match way:
        case Way.PUBLISH_NOW:
            return _("It goes out now.")
        case Way.DRAFT:
            return _("It is a draft again.")
    at = moment(changed.publish_at, request.user.zone, clock.now()) if changed.publish_at else ""
    return _("Scheduled for %(when)s.") % {"when": at}


def _question(
    request: SignedInRequest,
    found: Deviation,
    *,
    when: WhenForm | None = None,
    said: Mapping[str, Any] | None = None,
    doubt: str = "",
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    """The question with what was ``said`` so far; ``doubt``: why an address needs to be confirmed once more."""
    user = request.user
    context = {
        "decision": Decision.of(found, zone=user.zone, now=clock.now()),
        "when": when or WhenForm(user=user, work=found),
        "said": said or {},
        "doubt": doubt,
        "error": error,
    }
    if request.htmx:
        return render(request, "publisher/_decision.html", context, status=status)
    return page(request, "publisher/decision.html", {**context, "here": "works"}, status=status)


def _not_done(
    request: SignedInRequest, found: Deviation, error: DeviationError, *, said: Mapping[str, Any] | None = None
) -> HttpResponse:
    """The question again, with what stood against it; the whole page's parts where there is none any more."""
    now = find_work(request, found.pk)
    if now.status != Deviation.Status.NEEDS_DECISION:
        return _answered(refused(request, found, error=error))
    text = sentences(error.details) if error.details else str(error)
    return _question(request, now, said=said, error=text, status=422 if error.status in {400, 404, 422} else 409)


def _answered(response: HttpResponse) -> HttpResponse:
    """What was asked in the question is answered by the parts of the page around it."""
    return reswap(retarget(response, "#state-box"), "innerHTML")


# --- picked works ----------------------------------------------------------------------------------------------------
@login_required
@require_POST
def look_again_many(request: SignedInRequest) -> HttpResponse:
    def told(count: int) -> str:
        return ngettext("%(count)s work is looked for", "%(count)s works are looked for", count) % {"count": count}

    return do(request, look_again_at_many, told)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def many(request: SignedInRequest) -> HttpResponse:
    """Ask what becomes of all picked works, then do that with each of them."""
    if request.method != "POST":
        picked = PickedForm(request.GET)
        return nothing_picked(request, picked) if not picked.is_valid() else _ask_many(request, picked)
    form, when = ManyForm(request.POST), WhenForm(request.POST, user=request.user)
    if "work" in form.errors:
        return nothing_picked(request, PickedForm(request.POST))
    if not form.is_valid() or (form.cleaned_data["way"] == Way.SCHEDULE and not when.is_valid()):
        return _ask_many(request, PickedForm(request.POST), when=when, status=422)
    said = form.said()
    try:
        result = decide_many(
            works_of(request),
            user=request.user,
            ids=form.cleaned_data["work"],
            **said,
            **_wish(said["way"], when),
        )
    except TimeRefused as error:
        _add_time_error(when, error)
        return _ask_many(request, PickedForm(request.POST), when=when, status=422)
    return answer(request, result, _told_of_many(said["way"]), can_undo=said["way"] in {Way.SCHEDULE, Way.KEEP_TIME})


def _told_of_many(way: Way) -> Any:
    def told(count: int) -> str:
        match way:
            case Way.PUBLISH_NOW:
                text = ngettext("%(count)s work goes out now", "%(count)s works go out now", count)
            case Way.DRAFT:
                text = ngettext("%(count)s work is a draft again", "%(count)s works are drafts again", count)
            case _:
                text = ngettext("%(count)s work scheduled", "%(count)s works scheduled", count)
        return text % {"count": count}

    return told


def _ask_many(
    request: SignedInRequest, picked: PickedForm, *, when: WhenForm | None = None, status: int = 200
) -> HttpResponse:
    ids = picked.cleaned_data["work"] if picked.is_valid() else []
    works = works_of(request).filter(pk__in=ids, status=Deviation.Status.NEEDS_DECISION)
    now = clock.now()
    context = {
        "works": ids,
        "count": len(ids),
        "doubtful": works.exclude(reason_code=LATE, unconfirmed_since__isnull=True).count(),
        "are_ahead": works.filter(publish_at__gt=now).exists(),
        "when": when or WhenForm(user=request.user),
        "way": request.POST.get("way", ""),
    }
    if not request.htmx:
        return page(request, "publisher/many.html", {**context, "here": "works"}, status=status)
    response = render(request, "publisher/_many.html", context, status=status)
    return reswap(retarget(response, "#dialog"), "innerHTML")


# --- all late works of an account ------------------------------------------------------------------------------------
@login_required
@require_GET
@never_cache
def late(request: SignedInRequest) -> HttpResponse:
    """The ways to answer for all late works of an account at once: a fragment of the list of undecided works."""
    return render(request, "publisher/_late.html", {"late": all_late(request.user)})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def late_of_account(request: SignedInRequest, account_id: UUID) -> HttpResponse:
    """The one question about them, and its answer."""
    account = get_object_or_404(DeviantArtAccount.objects.owned_by(request.user), pk=account_id)
    if request.method != "POST":
        return _ask_late(request, account)
    form, when = WayForm(request.POST), WhenForm(request.POST, user=request.user)
    if not form.is_valid() or (form.cleaned_data["way"] == Way.SCHEDULE and not when.is_valid()):
        return _ask_late(request, account, when=when, status=422)
    way = form.said()["way"]
    try:
        result = decide_all_late(works_of(request), way, user=request.user, account_id=account.pk, **_wish(way, when))
    except TimeRefused as error:
        _add_time_error(when, error)
        return _ask_late(request, account, when=when, status=422)
    text, is_error = _told_of_late(way, result)
    return back(request, text, to="deviations:works", is_error=is_error)


def _told_of_late(way: Way, result: BulkResult) -> tuple[str, bool]:
    errors = [item.error for item in result.items if item.error is not None]
    text = _told_of_many(way)(len(result.items) - len(errors))
    if not errors:
        return text, False
    left = ngettext("%(count)s was left as it is.", "%(count)s were left as they are.", len(errors))
    return f"{text}. {left % {'count': len(errors)}} {sentences(errors[0].details) or errors[0]}", True


def _ask_late(
    request: SignedInRequest, account: DeviantArtAccount, *, when: WhenForm | None = None, status: int = 200
) -> HttpResponse:
    works, user, now = late_of(works_of(request), account.pk), request.user, clock.now()
    count = works.count()
    if not count:
        return back(
            request, _("No work of %(name)s is late any more.") % {"name": account.username}, to="deviations:works"
        )
    shown = for_cards(works).order_by("publish_at", "pk")[:LATE_SHOWN]
    context = {
        "account": account,
        "count": count,
        "works": [
            (Card.of(work, zone=user.zone, now=now), moment(work.publish_at, user.zone, now) if work.publish_at else "")
            for work in shown
        ],
        "more": max(0, count - LATE_SHOWN),
        "when": when or WhenForm(user=user),
        "here": "works",
    }
    return page(request, "publisher/late.html", context, status=status)
