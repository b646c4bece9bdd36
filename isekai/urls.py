"""Every door of the project."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/", include("accounts.api.urls")),
    path("api/", include("deviations.api.urls")),
    path("api/", include("publisher.api.urls")),
    path("api/", include("automations.api.urls")),
    path("", include("accounts.web.urls")),
    path("", include("deviations.web.urls")),
    path("", include("publisher.web.urls")),
    path("", include("automations.web.urls")),
]
