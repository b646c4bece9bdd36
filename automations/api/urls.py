from typing import Any

from django.urls import URLPattern, URLResolver, path
from rest_framework.routers import SimpleRouter

from automations.api.runs import AllPreviewsView, ExecutionsView, PreviewView, RunView, TestView, UndoView
from automations.api.views import AutomationViewSet, BlackoutViewSet, DefaultValueViewSet, RuleViewSet

app_name = "automations-api"

router = SimpleRouter()
router.register("automations", AutomationViewSet, basename="automation")

_ALL: dict[str, Any] = {"get": "list", "post": "create"}
_ONE: dict[str, Any] = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}

urlpatterns: list[URLPattern | URLResolver] = [
    # In front of the router's, to which this would be an automation.
    path("automations/preview/", AllPreviewsView.as_view(), name="previews"),
    *router.urls,
    path("automations/<uuid:pk>/preview/", PreviewView.as_view(), name="preview"),
    path("automations/<uuid:pk>/run/", RunView.as_view(), name="run"),
    path("automations/<uuid:pk>/test/", TestView.as_view(), name="test"),
    path("automations/<uuid:pk>/undo/", UndoView.as_view(), name="undo"),
    path("automations/<uuid:pk>/executions/", ExecutionsView.as_view(), name="executions"),
    path("automations/<uuid:pk>/rules/", RuleViewSet.as_view(_ALL), name="rules"),
    path("automations/<uuid:pk>/rules/<uuid:rule_id>/", RuleViewSet.as_view(_ONE), name="rule"),
    path("automations/<uuid:pk>/default-values/", DefaultValueViewSet.as_view(_ALL), name="default-values"),
    path(
        "automations/<uuid:pk>/default-values/<uuid:default_id>/",
        DefaultValueViewSet.as_view(_ONE),
        name="default-value",
    ),
    path("accounts/<uuid:pk>/blackouts/", BlackoutViewSet.as_view(_ALL), name="blackouts"),
    path("accounts/<uuid:pk>/blackouts/<uuid:blackout_id>/", BlackoutViewSet.as_view(_ONE), name="blackout"),
]
