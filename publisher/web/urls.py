from django.urls import URLPattern, path

from publisher.web import views

app_name = "publisher"
urlpatterns: list[URLPattern] = [
    path("holds/", views.holds, name="holds"),
    path("works/look-again/", views.look_again_many, name="look-again-many"),
    path("works/decide/", views.many, name="decide-many"),
    path("works/late/", views.late, name="late"),
    path("works/late/<uuid:account_id>/", views.late_of_account, name="late-of-account"),
    path("works/<uuid:pk>/timeline/", views.timeline, name="timeline"),
    path("works/<uuid:pk>/look-again/", views.look_again, name="look-again"),
    path("works/<uuid:pk>/decision/", views.decision, name="decision"),
    path("works/<uuid:pk>/decision/live/", views.live, name="live"),
    path("works/<uuid:pk>/decision/not-live/", views.decide, name="decide"),
]
