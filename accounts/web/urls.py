from django.urls import URLPattern, path

from accounts.web import views

app_name = "accounts"
urlpatterns: list[URLPattern] = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-in/deviantart/", views.sign_in_deviantart, name="sign-in-deviantart"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("sign-out/everywhere/", views.sign_out_everywhere, name="sign-out-everywhere"),
    path("connect/", views.connect, name="connect"),
    path("accounts/<uuid:pk>/reconnect/", views.reconnect, name="reconnect"),
    path("accounts/<uuid:pk>/disconnect/", views.disconnect, name="disconnect"),
    path("oauth/deviantart/callback/", views.callback, name="callback"),
    path("theme/", views.theme, name="theme"),
    path("time-zone/", views.time_zone, name="time-zone"),
]
