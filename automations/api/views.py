# ruff: noqa: ARG002 - REST framework gives the request and the keys to every method, which read them from the view
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet, prefetch_related_objects
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.api.callers import user_of, workspace_of, workspaces_of
from accounts.api.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import ApiKey, DeviantArtAccount
from automations.api.filters import AutomationFilter
from automations.api.serializers import (
    AutomationChangeSerializer,
    AutomationsBulkResultSerializer,
    AutomationsBulkSerializer,
    AutomationSerializer,
    BlackoutSerializer,
    BlackoutWordsSerializer,
    DefaultChangeSerializer,
    DefaultValueSerializer,
    DefaultWordsSerializer,
    MovesSerializer,
    NewAutomationSerializer,
    OrderSerializer,
    RuleSerializer,
    RuleWordsSerializer,
    ToggleSerializer,
    ZoneSerializer,
    etag_of,
)
from automations.errors import VersionConflict
from automations.models import Automation, AutomationQuerySet, Blackout, DefaultValue, ScheduleRule
from automations.services.arranging import duplicate, duplicate_many, reorder
from automations.services.blackouts import add_blackout, edit_blackout, remove_blackout
from automations.services.changing import BulkResult
from automations.services.defaults import add_default, edit_default, remove_default
from automations.services.planning import zones_of_owners
from automations.services.rules import add_rule, edit_rule, remove_rule
from automations.services.saving import create_automation, delete_automation, delete_many, edit_automation
from automations.services.switching import (
    go_on_many,
    pause_many,
    switch_many_off,
    switch_many_on,
    switch_off,
    switch_on,
)
from automations.services.zones import MOVES_SHOWN, moves_of, moves_with_owner, shown_move, zone_named
from automations.slots import Move
from deviations import errors as of_works
from deviations.api.views import version_of as version_of_works

SHOWN = ("rules__automation", "default_values__automation")
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description=(
        "The automation's `etag` as you have seen it: 412 when it, a rule or a default value of it was changed since. "
        "Without it nothing is compared."
    ),
)
ZONE = OpenApiParameter("zone", str, required=True, description="An IANA name like Europe/Berlin.")


class Scoped(GenericViewSet):
    """What automations, their rules and their blackouts have in common. What is of another workspace is not found."""

    def automations(self) -> AutomationQuerySet:
        """Those that the call may see and change."""
        ids = list(workspaces_of(self.request).values_list("pk", flat=True))
        return Automation.objects.filter(workspace_id__in=ids)

    def automation(self) -> Automation:
        return get_object_or_404(self.automations(), pk=self.kwargs["pk"])

    def body(self, serializer_class: type[Any], *, partial: bool = False) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def pages(self, rows: QuerySet[Any]) -> Response:
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    def answer(self, row: Any, automation: Automation, answer: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(row).data, status=answer, headers={"ETag": etag_of(automation)})


class AutomationViewSet(Scoped):
    """Automations. What belongs to another workspace is not found."""

    queryset = Automation.objects.none()
    serializer_class = AutomationSerializer
    filterset_class = AutomationFilter
    required_scope = {
        "list": ApiKey.Scope.READ,
        "retrieve": ApiKey.Scope.READ,
        "create": ApiKey.Scope.WRITE,
        "partial_update": ApiKey.Scope.WRITE,
        "destroy": ApiKey.Scope.WRITE,
        "toggle": ApiKey.Scope.WRITE,
        "duplicate": ApiKey.Scope.WRITE,
        "reorder": ApiKey.Scope.WRITE,
        "pause_all": ApiKey.Scope.WRITE,
        "go_on_all": ApiKey.Scope.WRITE,
        "bulk": ApiKey.Scope.WRITE,
        "moves": ApiKey.Scope.READ,
        "all_moves": ApiKey.Scope.READ,
    }

    # --- one --------------------------------------------------------------------------------------------------------
    def list(self, request: Request) -> Response:
        """Automations in their order, with their rules and default values."""
        rows = self.filter_queryset(self.automations()).order_by("position", "pk")
        return self.get_paginated_response(self._shown(self.paginate_queryset(rows) or []))

    @extend_schema(request=NewAutomationSerializer, responses={201: AutomationSerializer}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Make an automation, with rules and default values if you like. It is off unless you say otherwise."""
        body = self.body(NewAutomationSerializer)
        return self._answer(
            create_automation(workspace_of(request), user=user_of(request), **body), status.HTTP_201_CREATED
        )

    def retrieve(self, request: Request, pk: str) -> Response:
        return self._answer(self.automation())

    @extend_schema(request=AutomationChangeSerializer, parameters=[IF_MATCH])
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what an automation says. What it has scheduled keeps its time.

        409 `confirmation_needed`: the `zone` moves slots; `details.moves` has them, `confirm_moves` takes it all the
        same.
        """
        return self._do(edit_automation, **self.body(AutomationChangeSerializer, partial=True))

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an automation with its rules, default values and history. What it has scheduled stays scheduled.

        409 `running`: it is scheduling works at this moment. Try again.
        """
        delete_automation(self.automation(), user=user_of(request), version=version_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=ToggleSerializer, parameters=[IF_MATCH])
    @action(detail=True, methods=["post"])
    def toggle(self, request: Request, pk: str) -> Response:
        """Switch an automation on or off. 409 `no_enabled_rule`: there is no rule by which it could run."""
        return self._do(switch_on if self.body(ToggleSerializer)["enabled"] else switch_off)

    @extend_schema(request=None, responses={201: AutomationSerializer}, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def duplicate(self, request: Request, pk: str) -> Response:
        """Make another one like this, with its rules and default values, switched off."""
        return self._answer(duplicate(self.automation(), user=user_of(request)), status.HTTP_201_CREATED)

    @extend_schema(parameters=[ZONE], responses=MovesSerializer)
    @action(detail=True, methods=["get"], url_path="zone-moves")
    def moves(self, request: Request, pk: str) -> Response:
        """What would move if the times of this automation were meant in another zone. Nothing is changed."""
        automation = self.automation()
        return Response(_moves([(automation, moves_of(automation, self._zone()))]))

    # --- many -------------------------------------------------------------------------------------------------------
    @extend_schema(
        operation_id="automations_all_zone_moves", parameters=[ZONE], responses=MovesSerializer, filters=False
    )
    @action(detail=False, methods=["get"], url_path="zone-moves", pagination_class=None)
    def all_moves(self, request: Request) -> Response:
        """What would move if you lived in another zone: of all automations that have none of their own."""
        return Response(_moves(moves_with_owner(self.automations(), user=user_of(request), zone=self._zone())))

    @extend_schema(request=OrderSerializer, responses={204: None}, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def reorder(self, request: Request) -> Response:
        """Put the list into another order."""
        reorder(self.automations(), user=user_of(request), **self.body(OrderSerializer))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=AutomationsBulkResultSerializer, filters=False)
    @action(detail=False, methods=["post"], url_path="pause-all", pagination_class=None)
    def pause_all(self, request: Request) -> Response:
        """Let no automation make slots until they go on. What is scheduled stays scheduled."""
        result = pause_many(self.automations(), user=user_of(request))
        return Response(AutomationsBulkResultSerializer(result).data)

    @extend_schema(request=None, responses=AutomationsBulkResultSerializer, filters=False)
    @action(detail=False, methods=["post"], url_path="go-on-all", pagination_class=None)
    def go_on_all(self, request: Request) -> Response:
        """Undo a pause: what is switched on makes slots again."""
        result = go_on_many(self.automations(), user=user_of(request))
        return Response(AutomationsBulkResultSerializer(result).data)

    @extend_schema(request=AutomationsBulkSerializer, responses=AutomationsBulkResultSerializer, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Do one thing to many automations at once, with a result for each."""
        body = self.body(AutomationsBulkSerializer)
        result = _BULK[body["action"]](self.automations(), user=user_of(request), ids=body["ids"])
        if not any(item.done or item.error for item in result.items):
            raise NotFound
        return Response(AutomationsBulkResultSerializer(result).data)

    def _zone(self) -> str:
        query = ZoneSerializer(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        return zone_named(query.validated_data["zone"])

    def _do(self, service: Callable[..., Automation], **options: Any) -> Response:
        user, version = user_of(self.request), version_of(self.request)
        return self._answer(service(self.automation(), user=user, version=version, **options))

    def _answer(self, automation: Automation, answer: int = status.HTTP_200_OK) -> Response:
        (shown,) = self._shown([automation])
        return Response(shown, status=answer, headers={"ETag": etag_of(automation)})

    def _shown(self, rows: Iterable[Automation]) -> Any:
        rows = list(rows)
        prefetch_related_objects(rows, *SHOWN)
        zones = zones_of_owners(row.workspace_id for row in rows)
        for row in rows:
            setattr(row, "effective_zone", row.zone or zones[row.workspace_id])  # noqa: B010 - no field of the model
        return self.get_serializer(rows, many=True).data


class RuleViewSet(Scoped):
    """The rules of an automation, those that go first at the top."""

    queryset = ScheduleRule.objects.none()
    serializer_class = RuleSerializer
    filter_backends = ()
    required_scope = {
        "list": ApiKey.Scope.READ,
        "retrieve": ApiKey.Scope.READ,
        "create": ApiKey.Scope.WRITE,
        "partial_update": ApiKey.Scope.WRITE,
        "destroy": ApiKey.Scope.WRITE,
    }

    def rule(self) -> ScheduleRule:
        rules = self.automation().rules.select_related("automation")
        return get_object_or_404(rules, pk=self.kwargs["rule_id"])

    def list(self, request: Request, pk: UUID) -> Response:
        return self.pages(self.automation().rules.select_related("automation").order_by("priority", "pk"))

    @extend_schema(request=RuleWordsSerializer, responses={201: RuleSerializer}, parameters=[IF_MATCH, IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request, pk: UUID) -> Response:
        """Give the automation another rule."""
        automation, body = self.automation(), self.body(RuleWordsSerializer)
        rule = add_rule(automation, user=user_of(request), version=version_of(request), **body)
        return self.answer(rule, rule.automation, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: UUID, rule_id: UUID) -> Response:
        rule = self.rule()
        return self.answer(rule, rule.automation)

    @extend_schema(request=RuleWordsSerializer, parameters=[IF_MATCH])
    def partial_update(self, request: Request, pk: UUID, rule_id: UUID) -> Response:
        """Change what a rule says; its type stays. 409 `last_enabled_rule`: an automation that is on needs one."""
        found, body = self.rule(), self.body(RuleWordsSerializer, partial=True)
        rule = edit_rule(found, user=user_of(request), version=version_of(request), **body)
        return self.answer(rule, rule.automation)

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def destroy(self, request: Request, pk: UUID, rule_id: UUID) -> Response:
        """Take a rule out. 409 `last_enabled_rule`: an automation that is on needs one."""
        automation = remove_rule(self.rule(), user=user_of(request), version=version_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT, headers={"ETag": etag_of(automation)})


class DefaultValueViewSet(Scoped):
    """What an automation writes into the drafts that it schedules, by field."""

    queryset = DefaultValue.objects.none()
    serializer_class = DefaultValueSerializer
    filter_backends = ()
    required_scope = RuleViewSet.required_scope

    def default(self) -> DefaultValue:
        defaults = self.automation().default_values.select_related("automation")
        return get_object_or_404(defaults, pk=self.kwargs["default_id"])

    def list(self, request: Request, pk: UUID) -> Response:
        return self.pages(self.automation().default_values.select_related("automation").order_by("field"))

    @extend_schema(
        request=DefaultWordsSerializer, responses={201: DefaultValueSerializer}, parameters=[IF_MATCH, IDEMPOTENCY_KEY]
    )
    @idempotent
    def create(self, request: Request, pk: UUID) -> Response:
        """Have one more field filled in."""
        automation, body = self.automation(), self.body(DefaultWordsSerializer)
        default = add_default(automation, user=user_of(request), version=version_of(request), **body)
        return self.answer(default, default.automation, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: UUID, default_id: UUID) -> Response:
        default = self.default()
        return self.answer(default, default.automation)

    @extend_schema(request=DefaultChangeSerializer, parameters=[IF_MATCH])
    def partial_update(self, request: Request, pk: UUID, default_id: UUID) -> Response:
        found, body = self.default(), self.body(DefaultChangeSerializer, partial=True)
        default = edit_default(found, user=user_of(request), version=version_of(request), **body)
        return self.answer(default, default.automation)

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def destroy(self, request: Request, pk: UUID, default_id: UUID) -> Response:
        """Leave that field alone from now on."""
        automation = remove_default(self.default(), user=user_of(request), version=version_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT, headers={"ETag": etag_of(automation)})


class BlackoutViewSet(Scoped):
    """The holidays of an account: days on which no automation posts to it."""

    queryset = Blackout.objects.none()
    serializer_class = BlackoutSerializer
    filter_backends = ()
    required_scope = RuleViewSet.required_scope

    def account(self) -> DeviantArtAccount:
        accounts = DeviantArtAccount.objects.filter(workspace__in=workspaces_of(self.request))
        return get_object_or_404(accounts, pk=self.kwargs["pk"])

    def blackout(self) -> Blackout:
        blackouts = Blackout.objects.filter(account=self.account()).select_related("account")
        return get_object_or_404(blackouts, pk=self.kwargs["blackout_id"])

    def list(self, request: Request, pk: UUID) -> Response:
        """Blackouts, those that end last at the top."""
        return self.pages(Blackout.objects.filter(account=self.account()).order_by("-until_date", "-pk"))

    @extend_schema(request=BlackoutWordsSerializer, responses={201: BlackoutSerializer}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request, pk: UUID) -> Response:
        """Keep automations from posting on those days; what is scheduled already stays scheduled."""
        account, body = self.account(), self.body(BlackoutWordsSerializer)
        blackout = add_blackout(account, user=user_of(request), **body)
        return Response(self.get_serializer(blackout).data, status=status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: UUID, blackout_id: UUID) -> Response:
        return Response(self.get_serializer(self.blackout()).data)

    @extend_schema(request=BlackoutWordsSerializer)
    def partial_update(self, request: Request, pk: UUID, blackout_id: UUID) -> Response:
        found, body = self.blackout(), self.body(BlackoutWordsSerializer, partial=True)
        return Response(self.get_serializer(edit_blackout(found, user=user_of(request), **body)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: UUID, blackout_id: UUID) -> Response:
        """Let automations post on those days again."""
        remove_blackout(self.blackout(), user=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


_BULK: dict[str, Callable[..., BulkResult]] = {
    "enable": switch_many_on,
    "disable": switch_many_off,
    "pause": pause_many,
    "go_on": go_on_many,
    "duplicate": duplicate_many,
    "delete": delete_many,
}


def _moves(found: Iterable[tuple[Automation, list[Move]]]) -> Any:
    moves = [{"automation_id": automation.pk, **shown_move(move)} for automation, moved in found for move in moved]
    return {"count": len(moves), "moves": moves[:MOVES_SHOWN]}


def version_of(request: Request) -> int | None:
    """The version that ``If-Match`` names; None compares nothing. Raises VersionConflict for what cannot be ours."""
    try:
        return version_of_works(request)
    except of_works.VersionConflict as error:
        raise VersionConflict from error
