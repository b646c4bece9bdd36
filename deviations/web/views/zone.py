"""Choosing in which time zone all times are shown."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.web.redirects import safe_next
from deviations.web.moments import zone_choices
from deviations.web.views.pages import SignedInRequest, page


@login_required
@require_GET
def choose(request: SignedInRequest) -> HttpResponse:
    context = {
        "zones": zone_choices(),
        "chosen": request.user.time_zone,
        "next": safe_next(request.GET.get("next", "")),
    }
    if request.htmx:
        return render(request, "deviations/_zone.html", context)
    return page(request, "deviations/zone.html", context)
