"""Which workspace somebody works in, and what its owners want for all of it."""

from django.db import transaction

from accounts.errors import NoWorkspace, OwnersOnly
from accounts.models import Membership, User, Workspace
from accounts.services.audit import record


def workspace_for(user: User) -> Workspace:
    """The workspace that the pages of ``user`` show: the one made with them, as long as they are a member of it.

    Raises NoWorkspace.
    """
    workspace = Workspace.objects.of(user).order_by("memberships__created_at", "pk").first()
    if workspace is None:
        raise NoWorkspace
    return workspace


def is_owner(workspace: Workspace, user: User) -> bool:
    return Membership.objects.filter(workspace=workspace, user=user, role=Membership.Role.OWNER).exists()


def set_drafts_are_ready(workspace: Workspace, *, user: User, ready: bool) -> None:
    """Have each new draft be ready for automations at once, or only when somebody says so; drafts of before stay.

    Raises OwnersOnly.
    """
    with transaction.atomic():
        if not is_owner(workspace, user):
            raise OwnersOnly
        # Only what is different is written, and told of.
        if Workspace.objects.filter(pk=workspace.pk).exclude(drafts_are_ready=ready).update(drafts_are_ready=ready):
            record(
                "workspace.drafts_ready_at_once" if ready else "workspace.drafts_ready_by_hand", workspace, user=user
            )
    workspace.drafts_are_ready = ready
