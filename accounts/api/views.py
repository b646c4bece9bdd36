# ruff: noqa: ARG002 - REST framework gives the request and the key to every method, which read them from the view
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from accounts.api.callers import user_of, workspace_of, workspaces_of
from accounts.api.serializers import (
    ApiKeySerializer,
    ChangedWishesSerializer,
    CreatedApiKeySerializer,
    DeviantArtAccountSerializer,
    MeSerializer,
    NewApiKeySerializer,
    WorkspaceWishesSerializer,
)
from accounts.models import ApiKey, DeviantArtAccount, User, Workspace
from accounts.services.api_keys import create_api_key, revoke_api_key
from accounts.services.holding import pause_account, release_account
from accounts.services.workspaces import set_drafts_are_ready
from isekai import clock


class MeView(APIView):
    """Who makes this call."""

    required_scope = ApiKey.Scope.READ

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        user: Any = user_of(request)
        user.workspace = workspace_of(request)
        user.scopes = request.auth.scopes if isinstance(request.auth, ApiKey) else None
        return Response(MeSerializer(user).data)


class WorkspaceViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    """Workspaces. One in which the caller is no member is not found; only its owners change it."""

    queryset = Workspace.objects.none()
    serializer_class = WorkspaceWishesSerializer
    required_scope = {
        "list": ApiKey.Scope.READ,
        "retrieve": ApiKey.Scope.READ,
        "partial_update": ApiKey.Scope.WRITE,
    }

    def get_queryset(self) -> QuerySet[Workspace]:
        return Workspace.objects.filter(pk__in=workspaces_of(self.request)).order_by("name", "pk")

    @extend_schema(request=ChangedWishesSerializer)
    def partial_update(self, request: Request, pk: str | None = None) -> Response:
        workspace = self.get_object()
        body = ChangedWishesSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        set_drafts_are_ready(workspace, user=user_of(request), ready=body.validated_data["drafts_are_ready"])
        return Response(self.get_serializer(workspace).data)


class DeviantArtAccountViewSet(ListModelMixin, GenericViewSet):
    """DeviantArt accounts. What belongs to another workspace is not found."""

    queryset = DeviantArtAccount.objects.none()
    serializer_class = DeviantArtAccountSerializer
    required_scope = {"list": ApiKey.Scope.READ, "pause": ApiKey.Scope.WRITE, "release": ApiKey.Scope.WRITE}

    def get_queryset(self) -> QuerySet[DeviantArtAccount]:
        accounts = DeviantArtAccount.objects.connected().filter(workspace__in=workspaces_of(self.request))
        return accounts.order_by("username", "pk")

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str | None = None) -> Response:
        """Let nothing of this account out until it is released; its works keep their times."""
        return self._change(pause_account)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str | None = None) -> Response:
        """Undo a pause."""
        return self._change(release_account)

    def _change(self, service: Callable[..., None]) -> Response:
        account = self.get_object()
        service(account, user=user_of(self.request))
        return Response(self.get_serializer(account).data)


class ApiKeyViewSet(ListModelMixin, GenericViewSet):
    """Your own API keys. Only somebody who is signed in can see and change them, never a key."""

    queryset = ApiKey.objects.none()
    serializer_class = ApiKeySerializer
    required_scope = {"list": None, "create": None, "revoke": None}

    def get_queryset(self) -> QuerySet[ApiKey]:
        # A key acts as its owner, so other members of the workspace have no business with it.
        user: User = user_of(self.request)
        return ApiKey.objects.owned_by(user).filter(user=user).order_by("-created_at", "-pk")

    @extend_schema(request=NewApiKeySerializer, responses={201: CreatedApiKeySerializer})
    def create(self, request: Request) -> Response:
        body = NewApiKeySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        key, raw = create_api_key(
            workspace_of(request),
            user=user_of(request),
            name=body.validated_data["name"],
            scopes=set(body.validated_data["scopes"]),
            expires_at=clock.now() + timedelta(days=body.validated_data["lives_days"]),
        )
        answer = {**ApiKeySerializer(key).data, "key": raw}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str | None = None) -> Response:
        """End a key at once, for good."""
        key = self.get_object()
        revoke_api_key(key, user=user_of(request))
        key.refresh_from_db()
        return Response(self.get_serializer(key).data)
