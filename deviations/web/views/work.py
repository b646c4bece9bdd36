"""The page of one work, and everything that is done there."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from deviantart.rules import CONTENT_TYPES
from deviations import storage
from deviations.errors import DeviationError, TimeRefused
from deviations.models import Deviation
from deviations.services.changing import BulkResult
from deviations.services.drafting import add_files, edit_deviation, move_files, remove_file
from deviations.services.readying import note_opened, set_many_ready
from deviations.services.scheduling import cancel_many, publish_now, retry_deviation, schedule_many
from deviations.services.trashing import restore_deviation, trash_many
from deviations.web.detail import Detail, is_locked
from deviations.web.forms import MoveForm, UploadForm, WhenForm, WordsForm, sentences
from deviations.web.moments import clock_time, moment
from deviations.web.views.pages import SignedInRequest, back, find_work, page, toast, touched, works_of
from isekai import clock


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def work(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """The page; POST takes the words over, by themselves while somebody types, or all at once without scripts."""
    found = find_work(request, pk)
    note_opened(found)
    return _save_words(request, found) if request.method == "POST" else _page(request, found)


def _page(
    request: SignedInRequest,
    found: Deviation,
    *,
    words: WordsForm | None = None,
    when: WhenForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    user = request.user
    context = _context(request, found, when=when, error=error)
    words = words or WordsForm(None, work=found, user=user)
    around = {"types": CONTENT_TYPES, "max_bytes": settings.UPLOAD_MAX_BYTES, "here": "works"}
    return page(request, "deviations/work.html", {**context, **around, "words": words}, status=status)


def _context(
    request: SignedInRequest, found: Deviation, *, when: WhenForm | None = None, error: str = ""
) -> dict[str, Any]:
    user = request.user
    return {
        "work": Detail.of(found, zone=user.zone, now=clock.now()),
        "when": when or WhenForm(user=user, work=found),
        "error": error,
    }


@login_required
@require_GET
@never_cache
def state(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """What of the page follows the state of the work; `?locked=` says whether the words can be typed in there now."""
    found = find_work(request, pk)
    context = _context(request, found)
    if request.GET.get("locked") != str(int(context["work"].is_locked)):
        context["words"] = WordsForm(None, work=found, user=request.user)
    return render(request, "deviations/_work_parts.html", context)


# --- words -----------------------------------------------------------------------------------------------------------
def _save_words(request: SignedInRequest, found: Deviation) -> HttpResponse:
    user = request.user
    form = WordsForm(request.POST, work=found, user=user)
    if form.is_valid():
        try:
            found = edit_deviation(found, user=user, version=form.cleaned_data["version"], **form.changes())
        except DeviationError as error:
            return _words_refused(request, found, form, error)
    elif request.htmx:
        return _saved(request, found, form, status=422)
    else:
        return _page(request, found, words=form, status=422)
    if request.htmx:
        return _saved(request, find_work(request, found.pk), form)
    return back(request, _("Saved."), to=_address(found))


def _words_refused(request: SignedInRequest, found: Deviation, form: WordsForm, error: DeviationError) -> HttpResponse:
    for name, reasons in error.details.items():
        form.add_error(name if name in form.fields else None, [str(reason) for reason in reasons])
    if not form.errors:
        form.add_error(None, str(error))
    # 400 and 412 are for programs; a page swaps what comes with 409 and 422.
    status = 422 if error.status in {400, 404, 422} else 409
    if request.htmx:
        return _saved(request, found, form, status=status)
    return _page(request, found, words=form, status=status)


def _saved(request: SignedInRequest, found: Deviation, form: WordsForm, *, status: int = 200) -> HttpResponse:
    """What changes on the page by saving: never a field, so that nothing is taken from under somebody's hands."""
    saved_at = clock_time(clock.now(), request.user.zone) if status == 200 else ""
    context = {**_context(request, found), "words": form, "saved_at": saved_at, "new_version": found.version}
    response = render(request, "deviations/_saved.html", context, status=status)
    return touched(response) if status == 200 else response


# --- when ------------------------------------------------------------------------------------------------------------
@login_required
@require_POST
def schedule(request: SignedInRequest, pk: UUID) -> HttpResponse:
    found, user = find_work(request, pk), request.user
    form = WhenForm(request.POST, user=user, work=found)
    if not form.is_valid():
        return refused(request, found, when=form, status=422)
    try:
        result = schedule_many(works_of(request), user=user, ids=[pk], **form.wish())
        changed = only(result)
    except DeviationError as error:
        return _when_refused(request, found, form, error)
    assert changed.publish_at is not None  # noqa: S101 - for the type checker: it has just been scheduled
    text = _("Scheduled for %(when)s.") % {"when": moment(changed.publish_at, user.zone, clock.now())}
    return done(request, found, changed, text, change=result.id)


def _when_refused(request: SignedInRequest, found: Deviation, form: WhenForm, error: DeviationError) -> HttpResponse:
    if isinstance(error, TimeRefused):
        form.choices = error.details.get("choices", [])
        form.add_error("time", str(error))
        return refused(request, found, when=form, status=422)
    return refused(request, found, error=error)


@login_required
@require_POST
def unschedule(request: SignedInRequest, pk: UUID) -> HttpResponse:
    return _act_undoably(request, pk, cancel_many, _("It is a draft again."))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def publish(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Ask first, since DeviantArt takes nothing back; then make it due."""
    found = find_work(request, pk)
    if request.method != "POST":
        shown = Detail.of(found, zone=request.user.zone, now=clock.now())
        context = {"work": shown, "count": 1, "action": request.path}
        if request.htmx:
            return render(request, "deviations/_confirm_publish.html", context)
        return page(request, "deviations/confirm_publish.html", context)
    return act(request, found, publish_now, _("It goes out now."))


@login_required
@require_POST
def retry(request: SignedInRequest, pk: UUID) -> HttpResponse:
    return act(request, find_work(request, pk), retry_deviation, _("We try again now."))


# --- ready for automations -------------------------------------------------------------------------------------------
@login_required
@require_POST
def ready(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Let automations take it (`on` is sent) or keep it from them."""
    is_on = "on" in request.POST
    text = _("Automations may take it.") if is_on else _("No automation takes it.")
    return _act_undoably(request, pk, partial(set_many_ready, ready=is_on), text)


# --- trash -----------------------------------------------------------------------------------------------------------
@login_required
@require_POST
def trash(request: SignedInRequest, pk: UUID) -> HttpResponse:
    return _act_undoably(request, pk, trash_many, _("Moved to the trash."))


@login_required
@require_POST
def restore(request: SignedInRequest, pk: UUID) -> HttpResponse:
    return act(request, find_work(request, pk), restore_deviation, _("Restored."))


# --- files -----------------------------------------------------------------------------------------------------------
@login_required
@require_GET
def original(request: SignedInRequest, pk: UUID, file_id: UUID) -> HttpResponse:
    """The file as it was uploaded, by an address that is good for a few minutes."""
    found = get_object_or_404(works_of(request), pk=pk)
    file = get_object_or_404(found.files, pk=file_id)
    url = storage.presigned_url(
        file.storage_key, filename=file.original_name, content_type=file.content_type, workspace_id=found.workspace_id
    )
    return redirect(url)


@login_required
@require_POST
def add_file(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Add one verified upload; what stands against it comes as plain text, for the row of that upload."""
    found, form = find_work(request, pk), UploadForm(request.POST)
    if not form.is_valid():
        return HttpResponse(sentences(form.errors), status=422, content_type="text/plain")
    try:
        changed = add_files(found, user=request.user, upload_ids=[form.cleaned_data["upload"]])
    except DeviationError as error:
        return HttpResponse(str(error), status=error.status, content_type="text/plain")
    return _parts(request, found, changed)


@login_required
@require_POST
def take_file_out(request: SignedInRequest, pk: UUID, file_id: UUID) -> HttpResponse:
    def out(found: Deviation, **who: Any) -> Deviation:
        return remove_file(found, file_id=file_id, **who)

    return act(request, find_work(request, pk), out, _("The file was taken out."))


@login_required
@require_POST
def move_file(request: SignedInRequest, pk: UUID, file_id: UUID) -> HttpResponse:
    """Change places with the file before (`step=-1`) or behind it (`step=1`); at an end nothing happens."""
    found, form = find_work(request, pk), MoveForm(request.POST)
    order = list(found.files.values_list("pk", flat=True))
    if not form.is_valid() or file_id not in order:
        raise Http404
    here = order.index(file_id)
    there = min(max(here + form.cleaned_data["step"], 0), len(order) - 1)
    order[here], order[there] = order[there], order[here]

    def move(found: Deviation, **who: Any) -> Deviation:
        return move_files(found, file_ids=order, **who)

    return act(request, found, move, "")


# --- how an action is answered ---------------------------------------------------------------------------------------
def _address(found: Deviation) -> str:
    return reverse("deviations:work", args=[found.pk])


def only(result: BulkResult) -> Deviation:
    """The work, after a change to many that was asked for one; raises what stood against it."""
    item = result.items[0]
    if item.error is not None:
        raise item.error
    if item.deviation is None:
        raise Http404
    return item.deviation


def act(request: SignedInRequest, found: Deviation, action: Callable[..., Deviation], text: str) -> HttpResponse:
    """Do ``action`` to the work, and answer with what it changed on the page, or with why it was not done."""
    try:
        changed = action(found, user=request.user)
    except DeviationError as error:
        return refused(request, found, error=error)
    return done(request, found, changed, text)


def _act_undoably(request: SignedInRequest, pk: UUID, action: Callable[..., BulkResult], text: str) -> HttpResponse:
    found = find_work(request, pk)
    try:
        result = action(works_of(request), user=request.user, ids=[pk])
        changed = only(result)
    except DeviationError as error:
        return refused(request, found, error=error)
    return done(request, found, changed, text, change=result.id)


def done(
    request: SignedInRequest, before: Deviation, changed: Deviation, text: str, *, change: UUID | None = None
) -> HttpResponse:
    if not request.htmx:
        return back(request, text, to=_address(changed))
    response = _parts(request, before, changed)
    if text:
        response.write(toast(request, text, change=change, works=[changed.pk]))
    return response


def _parts(request: SignedInRequest, before: Deviation, changed: Deviation) -> HttpResponse:
    """The parts of the page that follow the state; the words, too, where they can be typed in only now, or no more."""
    found = find_work(request, changed.pk)
    context = {**_context(request, found), "new_version": found.version}
    if is_locked(before) != is_locked(found):
        context["words"] = WordsForm(None, work=found, user=request.user)
    return touched(render(request, "deviations/_work_parts.html", context))


def refused(
    request: SignedInRequest,
    found: Deviation,
    *,
    error: DeviationError | None = None,
    when: WhenForm | None = None,
    status: int = 409,
) -> HttpResponse:
    """The same parts with what stood against it; everything as it is now, which may be why."""
    text = ""
    if error is not None:
        text = sentences(error.details) if error.details else str(error)
        status = 422 if error.status in {400, 422} else 409
    found = find_work(request, found.pk)
    if not request.htmx:
        return _page(request, found, when=when, error=text, status=status)
    return render(
        request, "deviations/_work_parts.html", _context(request, found, when=when, error=text), status=status
    )
