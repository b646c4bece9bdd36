from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from deviations.models import Deviation
from publisher.services.timeline import timeline_of


@login_required
@require_GET
def timeline(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The timeline of a work, a fragment that the work's page embeds."""
    deviation = get_object_or_404(Deviation.objects.owned_by(request.user), pk=pk)
    context = {"deviation": deviation, "entries": timeline_of(deviation)}
    return render(request, "publisher/_timeline.html", context)
