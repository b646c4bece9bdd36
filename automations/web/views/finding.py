"""What all pages of automations share."""

from collections.abc import Iterable
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django_htmx.http import trigger_client_event

from accounts.models import DeviantArtAccount, Workspace
from automations.errors import AutomationError
from automations.models import Automation, AutomationQuerySet
from automations.services.previewing import Preview, preview
from deviations.web.forms import sentences
from deviations.web.views.pages import SignedInRequest, back

# So many slots of all automations together are looked at for a page.
LOOKED_AT = 300


def automations_of(request: SignedInRequest) -> AutomationQuerySet:
    """Those that may be seen and changed here; those of others do not exist."""
    return Automation.objects.owned_by(request.user)


def find_automation(request: SignedInRequest, pk: UUID) -> Automation:
    """Raises Http404."""
    return get_object_or_404(automations_of(request).select_related("account", "workspace"), pk=pk)


def accounts_of(request: SignedInRequest) -> list[DeviantArtAccount]:
    return list(DeviantArtAccount.objects.owned_by(request.user).connected().order_by("username", "pk"))


def previews_of(automations: Iterable[Automation]) -> dict[UUID, Preview]:
    """What is ahead in each of their workspaces, by its id."""
    workspaces = {each.workspace_id for each in automations}
    return {
        workspace.pk: preview(workspace, most=LOOKED_AT) for workspace in Workspace.objects.filter(pk__in=workspaces)
    }


def why(error: AutomationError) -> str:
    """An error as one text."""
    reasons = {name: texts for name, texts in error.details.items() if isinstance(texts, list) and name != "moves"}
    return sentences(reasons) or str(error)


def told(
    request: SignedInRequest,
    text: str,
    *,
    to: str,
    is_error: bool = False,
    undo: str = "",
    changed: str = "automation:changed",
) -> HttpResponse:
    """The answer to an action: with htmx a toast, and an event by which parts of the page fetch themselves anew.

    Without scripts it is the page ``to``. ``undo`` is the address at which it is taken back.
    """
    if not request.htmx:
        return back(request, text, to=to, is_error=is_error)
    context = {"text": text, "undo": undo, "is_error": "error" if is_error else ""}
    response = HttpResponse(render_to_string("components/toast.html", context, request))
    return trigger_client_event(response, changed, after="settle")
