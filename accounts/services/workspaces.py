"""Which workspace somebody works in."""

from accounts.errors import NoWorkspace
from accounts.models import User, Workspace


def workspace_for(user: User) -> Workspace:
    """The workspace that the pages of ``user`` show: the one made with them, as long as they are a member of it.

    Raises NoWorkspace.
    """
    workspace = Workspace.objects.of(user).order_by("memberships__created_at", "pk").first()
    if workspace is None:
        raise NoWorkspace
    return workspace
