from django.urls import URLPattern, URLResolver, path

from publisher.api.views import AttemptsView

app_name = "publisher-api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("deviations/<uuid:pk>/attempts/", AttemptsView.as_view(), name="attempts"),
]
