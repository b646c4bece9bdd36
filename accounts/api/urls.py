from django.urls import URLPattern, URLResolver, include, path
from rest_framework.routers import SimpleRouter

from accounts.api.views import ApiKeyViewSet, DeviantArtAccountViewSet, MeView, WorkspaceViewSet

router = SimpleRouter()
router.register("accounts", DeviantArtAccountViewSet, basename="account")
router.register("workspaces", WorkspaceViewSet, basename="workspace")
router.register("keys", ApiKeyViewSet, basename="key")

app_name = "accounts-api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("me/", MeView.as_view(), name="me"),
    path("", include(router.urls)),
]
