from django.urls import URLPattern, path

from publisher.web import views

app_name = "publisher"
urlpatterns: list[URLPattern] = [
    path("works/<uuid:pk>/timeline/", views.timeline, name="timeline"),
    path("works/<uuid:pk>/look-again/", views.look_again, name="look-again"),
]
