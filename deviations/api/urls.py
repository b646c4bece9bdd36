from django.urls import URLPattern, URLResolver
from rest_framework.routers import SimpleRouter

from deviations.api.uploads import UploadViewSet
from deviations.api.views import DeviationViewSet

app_name = "deviations-api"

router = SimpleRouter()
router.register("deviations", DeviationViewSet, basename="deviation")
router.register("uploads", UploadViewSet, basename="upload")

urlpatterns: list[URLPattern | URLResolver] = [*router.urls]
