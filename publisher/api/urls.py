from django.urls import URLPattern, URLResolver

app_name = "publisher-api"
urlpatterns: list[URLPattern | URLResolver] = []
