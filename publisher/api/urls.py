from django.urls import URLPattern, URLResolver, path

from publisher.api.views import AttemptsView, DecideView, DecisionsView, LookAgainView

app_name = "publisher-api"
urlpatterns: list[URLPattern | URLResolver] = [
    path("deviations/<uuid:pk>/attempts/", AttemptsView.as_view(), name="attempts"),
    path("deviations/<uuid:pk>/look-again/", LookAgainView.as_view(), name="look-again"),
    path("deviations/<uuid:pk>/decide/", DecideView.as_view(), name="decide"),
    path("decisions/", DecisionsView.as_view(), name="decisions"),
]
