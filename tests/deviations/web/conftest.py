"""Artists at their pages, with and without scripts."""

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from deviations import storage
from deviations.models import Deviation, DeviationFile, FileVariant
from isekai.ids import new_id
from tests.factories import UserFactory


@pytest.fixture
def stranger(db: None) -> User:
    return UserFactory()


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    def make(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def plain(client_of: Callable[[User], Client], artist: User) -> Client:
    """The artist's plain, without scripts."""
    return client_of(artist)


@pytest.fixture
def htmx(artist: User) -> Client:
    """The artist's plain, in which htmx asks."""
    client = Client(headers={"HX-Request": "true"})
    client.force_login(artist)
    return client


@pytest.fixture
def make_pictured(make_work: Callable[..., Deviation]) -> Callable[..., Deviation]:
    """Makes works whose files have their copies, so that there is a picture to show."""

    def make(account: Any, *, size: tuple[int, int] = (640, 480), **fields: Any) -> Deviation:
        work = make_work(account, **fields)
        for file in work.files.all():
            file.storage_key = storage.original_key(work.workspace_id, new_id())
            file.save()
            for kind in FileVariant.Kind:
                key = storage.variant_key(work.workspace_id, new_id())
                FileVariant.objects.create(
                    file=file,
                    kind=kind,
                    storage_key=key,
                    content_type="image/webp",
                    size=1000,
                    width=size[0],
                    height=size[1],
                    sha256=new_id().hex * 2,
                )
        return work

    return make


class Page(HTMLParser):
    """The elements of a page, in their order: what a browser would build, as (tag, attributes)."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(response.content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, tag: str, **attributes: str | None) -> list[dict[str, str | None]]:
        """Each element of that name with those attributes (`data_work` is `data-work`)."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if name == tag and all(key in found and value in {None, found[key]} for key, value in wanted.items())
        ]

    def ids(self) -> list[str]:
        return [str(found["id"]) for _tag, found in self.elements if found.get("id")]


@pytest.fixture
def read() -> Callable[[Any], Page]:
    return Page


@pytest.fixture
def pending(make_work: Callable[..., Deviation]) -> Callable[..., Deviation]:
    """Makes works whose files are still being prepared."""

    def make(account: Any, **fields: Any) -> Deviation:
        work = make_work(account, **fields)
        work.files.update(media_state=DeviationFile.MediaState.PENDING)
        return work

    return make
