"""What holds for every page: its policy, its words, its errors."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path, reverse

from accounts.models import User
from deviations.web.filters import FILTERS
from deviations.web.showing import STATUS_WORDS
from isekai import urls
from tests.factories import DueDeviationFactory

PAGES = ["/works/", "/works/?status=trash", "/works/?q=nothing", "/works/?view=list", "/connect/", "/zone/", "work"]
POLICY_WITHOUT_NONCE = re.compile(r"'nonce-[^']+'")


@pytest.fixture
def get(plain, account):
    work = DueDeviationFactory(workspace=account.workspace, account=account)

    def ask(name: str):
        response = plain.get(reverse("deviations:work", args=[work.pk]) if name == "work" else name)
        assert response.status_code == 200
        return response

    return ask


def nonce_of(response) -> str:
    return re.findall(r"'nonce-([^']+)'", response.headers["Content-Security-Policy"])[0]


# --- the content security policy -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAGES)
def test_a_page_obeys_its_own_policy(get, read, name):
    response = get(name)
    found = read(response)
    for tag, attributes in found.elements:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith(("on", "hx-on"))], attributes
        assert not any(str(value).strip().lower().startswith("javascript:") for value in attributes.values())
    assert not found.all("style")
    for script in found.all("script"):
        assert script.get("nonce") == nonce_of(response) or str(script.get("src")).startswith("/static/")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_one_heading_one_main_and_no_id_twice(get, read, name):
    found = read(get(name))
    assert len(found.all("h1")) == 1
    assert len(found.all("main")) == 1
    assert sorted(found.ids()) == sorted(set(found.ids()))
    assert "· Isekai" in found.words


def test_each_answer_has_a_nonce_of_its_own(get):
    assert nonce_of(get("/works/")) != nonce_of(get("/works/"))


def test_the_policy_lets_nothing_in_but_ourselves_and_storage(get):
    policy = POLICY_WITHOUT_NONCE.sub("", get("/works/").headers["Content-Security-Policy"])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.search(rf"img-src [^;]*{re.escape(settings.STORAGE_ORIGIN)}", policy)
    assert set(re.findall(r"https?://[^ ;]+", policy)) == {settings.STORAGE_ORIGIN, settings.DEVIANTART_BASE_URL}


def test_every_module_is_in_the_import_map(get):
    names = {file.name for file in (Path(settings.BASE_DIR) / "static/js").glob("*.js")} - {"app.js"}
    mapped = re.findall(r'"/static/js/([\w.]+)": "/static/js/[\w.]+"', get("/works/").content.decode())
    assert set(mapped) == names


def test_every_icon_that_a_page_shows_is_in_the_sprite_and_no_other():
    base = Path(settings.BASE_DIR)
    sprite = set(re.findall(r'id="i-([a-z]+)"', (base / "static/icons.svg").read_text()))
    templates = "".join(file.read_text() for file in (base / "templates").rglob("*.html"))
    named = set(re.findall(r'icon="([a-z]+)"', templates)) | set(re.findall(r"#i-([a-z]+)", templates))
    assert sprite == named | set(STATUS_WORDS) | {one.icon for one in FILTERS if one.icon}


# --- who reads it ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_server_writes_the_theme_so_that_no_page_flashes(plain, artist, read, theme):
    User.objects.update(theme=theme)
    page = read(plain.get("/works/"))
    assert page.all("html", data_theme=theme)
    assert page.all("input", name="theme", value=theme, checked=None)


def test_the_door_has_the_theme_of_whoever_was_there_last(client, db, read):
    client.cookies["isekai_theme"] = "dark"
    assert read(client.get("/sign-in/")).all("html", data_theme="dark")


def test_the_administration_is_shown_to_operators_only(plain, artist, read):
    assert not read(plain.get("/works/")).all("a", href="/admin/")
    User.objects.update(is_staff=True)
    assert read(plain.get("/works/")).all("a", href="/admin/")


def test_the_time_zone_is_named_and_can_be_changed(plain, artist, read):
    page = read(plain.get("/works/"))
    assert page.words.count("Times in Berlin, CE") == 1
    choice = read(plain.get("/zone/?next=/works/"))
    assert choice.all("option", value="Europe/Berlin", selected=None)
    assert choice.all("option", value="Asia/Tokyo")
    response = plain.post("/time-zone/", {"time_zone": "Asia/Tokyo", "next": "/works/"}, follow=True)
    assert "Times in Tokyo, JST (UTC+9)" in read(response).words


def test_where_to_go_after_choosing_a_zone_is_a_page_of_ours(plain, read):
    page = read(plain.get("/zone/?next=javascript:alert(1)"))
    assert not [found for _tag, found in page.elements if "javascript" in str(found.get("href"))]
    assert page.all("input", name="next", value="")


# --- errors ----------------------------------------------------------------------------------------------------------
def break_down(_request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a secret of the server")


def forbid(_request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def misunderstand(_request: HttpRequest) -> HttpResponse:
    raise BadRequest


class BrokenUrls:
    urlpatterns = [
        *urls.urlpatterns,
        path("broken/", break_down),
        path("forbidden/", forbid),
        path("misunderstood/", misunderstand),
    ]


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing/", 404, "There is nothing here"),
        ("/forbidden/", 403, "This is not yours to see"),
        ("/misunderstood/", 400, "This request could not be read"),
        ("/broken/", 500, "This server made a mistake"),
    ],
)
def test_an_error_says_what_happened_and_has_one_way_on(settings, read, address, status, words):
    settings.ROOT_URLCONF = BrokenUrls
    response = Client(raise_request_exception=False).get(address)
    assert response.status_code == status
    page = read(response)
    assert words in page.words
    assert "secret" not in page.words
    assert [found["href"] for found in page.all("a")] == ["/"]


def test_an_old_form_is_explained(db, read):
    response = Client(enforce_csrf_checks=True).post("/sign-in/", {"username": "mira"})
    assert response.status_code == 403
    assert "This page was open for too long" in read(response).words


def test_the_page_of_a_fault_needs_no_database(settings, monkeypatch, read):
    settings.ROOT_URLCONF = BrokenUrls
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "nowhere.Storage"}}
    response = Client(raise_request_exception=False).get("/broken/")
    assert response.status_code == 500
    assert read(response).all("h1")
