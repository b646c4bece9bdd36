from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from deviations.models import Deviation
from deviations.web.views.pages import SignedInRequest, find_work
from deviations.web.views.work import act
from publisher.services.deciding import look_again as look_again_at
from publisher.services.timeline import timeline_of


@login_required
@require_GET
def timeline(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The timeline of a work, a fragment that the work's page embeds."""
    deviation = get_object_or_404(Deviation.objects.owned_by(request.user), pk=pk)
    context = {"deviation": deviation, "entries": timeline_of(deviation)}
    return render(request, "publisher/_timeline.html", context)


@login_required
@require_POST
def look_again(request: SignedInRequest, pk: UUID) -> HttpResponse:
    """Have DeviantArt asked once more about a work that needs a decision; answers as the work's page does."""
    return act(request, find_work(request, pk), look_again_at, _("We look at DeviantArt once more."))
