"""Who makes this call, and in which workspaces they may act at this moment."""

from typing import cast

from rest_framework.request import Request

from accounts.models import ApiKey, User, Workspace
from accounts.models.users import WorkspaceQuerySet
from accounts.services.workspaces import workspace_for


def user_of(request: Request) -> User:
    return cast(User, request.user)


def workspaces_of(request: Request) -> WorkspaceQuerySet:
    """Those whose rows the call may see and change: of a key, the one that it was made for; else the user's."""
    workspaces = Workspace.objects.of(user_of(request))
    return workspaces.filter(pk=request.auth.workspace_id) if isinstance(request.auth, ApiKey) else workspaces


def workspace_of(request: Request) -> Workspace:
    """The workspace that what the call makes belongs to; raises NoWorkspace."""
    return request.auth.workspace if isinstance(request.auth, ApiKey) else workspace_for(user_of(request))
