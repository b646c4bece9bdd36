"""Home: all works, as a wall or a list."""

from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import DeviantArtAccount
from accounts.services.workspaces import workspace_for
from deviantart.rules import CONTENT_TYPES
from deviations.errors import DeviationError
from deviations.models import Deviation, Upload
from deviations.services.drafting import create_draft
from deviations.web import filters
from deviations.web.forms import UploadForm, WhenForm, sentences
from deviations.web.showing import Card, for_cards
from deviations.web.titles import title_from
from deviations.web.views.pages import SignedInRequest, find_work, page, touched
from isekai import clock

LAYOUTS = ["wall", "list"]


@require_GET
def home(_request: SignedInRequest) -> HttpResponse:
    return redirect("deviations:works")


@login_required
@require_GET
@never_cache
def works(request: SignedInRequest) -> HttpResponse:
    """The page, or what htmx asked for of it: the list after a search, or the cards behind `?after=`."""
    chosen, query = filters.named(request.GET.get("status", "")), request.GET.get("q", "").strip()[:200]
    after = filters.Place.read(request.GET.get("after", ""))
    shown, more = filters.page(
        for_cards(filters.narrow(filters.works_of(request.user), chosen, query=query)), chosen, after=after
    )
    user, now = request.user, clock.now()
    context = {
        "cards": [Card.of(work, zone=user.zone, now=now) for work in shown],
        "more": more,
        "chosen": chosen,
        "query": query,
        "layout": _layout(request),
    }
    if request.htmx and not request.htmx.history_restore_request:
        return render(request, "deviations/_cards.html" if after else "deviations/_list.html", context)
    return page(
        request,
        "deviations/works.html",
        {
            **context,
            "tabs": filters.tabs(filters.works_of(request.user), chosen),
            "when": WhenForm(user=user),
            "has_account": DeviantArtAccount.objects.owned_by(user).connected().exists(),
            "types": CONTENT_TYPES,
            "max_bytes": settings.UPLOAD_MAX_BYTES,
            "here": "trash" if chosen.name == "trash" else "works",
        },
    )


def _layout(request: SignedInRequest) -> str:
    """As asked for by `?view=`, which is remembered until the session ends."""
    wanted = request.GET.get("view")
    if wanted in LAYOUTS and request.session.get("layout", LAYOUTS[0]) != wanted:
        request.session["layout"] = wanted
    return str(request.session.get("layout", LAYOUTS[0]))


@login_required
@require_GET
@never_cache
def filter_tabs(request: SignedInRequest) -> HttpResponse:
    chosen = filters.named(request.GET.get("status", ""))
    tabs = filters.tabs(filters.works_of(request.user), chosen)
    return render(request, "deviations/_filters.html", {"tabs": tabs, "chosen": chosen})


@login_required
@require_GET
@never_cache
def card(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """The card as it is now; nothing for one that has gone into the trash since, or has come out of it."""
    work = find_work(request, pk)
    if (request.GET.get("in") == "trash") != (work.trashed_at is not None):
        return HttpResponse()
    return _card(request, work)


def _card(request: SignedInRequest, work: Deviation) -> HttpResponse:
    shown = Card.of(work, zone=request.user.zone, now=clock.now())
    return render(request, "deviations/_card.html", {"card": shown})


@login_required
@require_POST
def new(request: SignedInRequest) -> HttpResponse:
    """Make a draft of one verified upload and answer with its card; what stands against it comes as plain text."""
    form = UploadForm(request.POST)
    if not form.is_valid():
        return HttpResponse(sentences(form.errors), status=422, content_type="text/plain")
    user = request.user
    workspace = workspace_for(user)
    upload = Upload.objects.filter(workspace=workspace, pk=form.cleaned_data["upload"]).first()
    try:
        title = title_from(upload.filename) if upload else ""
        work = create_draft(workspace, user=user, upload_ids=[form.cleaned_data["upload"]], title=title)
    except DeviationError as error:
        return HttpResponse(str(error), status=error.status, content_type="text/plain")
    return touched(_card(request, find_work(request, work.pk)))
