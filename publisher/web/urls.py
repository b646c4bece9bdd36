from django.urls import URLPattern

app_name = "publisher"
urlpatterns: list[URLPattern] = []
