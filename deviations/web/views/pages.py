"""What all pages share: the shell around them, and how an action is answered with and without scripts."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django_htmx.http import trigger_client_event
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from deviations.web.live import changes_since, strip_of
from deviations.web.moments import zone_offset, zone_place
from deviations.web.showing import for_cards
from isekai import clock


class SignedInRequest(HttpRequest):
    """What a view behind ``login_required`` is given."""

    user: User
    htmx: HtmxDetails


def page(request: SignedInRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """A whole page in the shell."""
    user, now = request.user, clock.now()
    shell = {
        "strip": strip_of(user, changes_since(user, None)),
        "zone_place": zone_place(user.zone),
        "zone_offset": zone_offset(user.zone, now),
    }
    return render(request, template, {**shell, **context}, status=status)


def works_of(request: SignedInRequest) -> DeviationQuerySet:
    """All works that may be seen here; those of others do not exist."""
    return Deviation.objects.owned_by(request.user)


def find_work(request: SignedInRequest, pk: UUID) -> Deviation:
    """The work, with all that a card needs; raises Http404."""
    return get_object_or_404(for_cards(works_of(request)), pk=pk)


def toast(request: SignedInRequest, text: str, *, change: UUID | None = None, works: list[UUID] | None = None) -> str:
    """A message for the corner of the page, as HTML; ``change`` can be undone for ``works``."""
    return render_to_string("components/toast.html", {"text": text, "change": change, "works": works}, request)


def touched(response: HttpResponse) -> HttpResponse:
    """Have the page ask at once for what is on its way now."""
    return trigger_client_event(response, "works:touched", after="settle")


def back(request: SignedInRequest, text: str, *, to: str, is_error: bool = False) -> HttpResponse:
    """The answer to somebody without scripts: the page again, with what was done above it."""
    messages.add_message(request, messages.ERROR if is_error else messages.SUCCESS, text)
    return redirect(to)
