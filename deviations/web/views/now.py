"""The strip above every page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from django_htmx.http import trigger_client_event

from deviations.web import live


@require_GET
@never_cache
def now(request: HttpRequest) -> HttpResponse:
    """204 while nothing changed since `?seen=`, else the strip, with an event for each work that did.

    401 for somebody who is not signed in any more: a redirect would put the door into the strip.
    """
    seen = live.Token.read(request.GET.get("seen", ""))
    found = live.poll(request, seen)
    if found is None:
        return HttpResponse(status=401)
    user, changes = found
    if changes.token == seen:
        return HttpResponse(status=204)
    response = render(request, "deviations/_now.html", {"strip": live.strip_of(user, changes)})
    if seen is not None:
        for event, detail in live.events_of(changes).items():
            trigger_client_event(response, event, detail)
    return response
