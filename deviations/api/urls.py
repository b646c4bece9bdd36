from django.urls import URLPattern, URLResolver

app_name = "deviations-api"
urlpatterns: list[URLPattern | URLResolver] = []
