"""Artists at the pages of their automations, with and without scripts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from accounts.models import DeviantArtAccount, User, Workspace
from automations.models import Automation
from automations.services.planning import plan_anew
from deviations.models import Deviation
from tests.deviations.web.conftest import Page
from tests.factories import AutomationFactory, ReadyDraftFactory, ScheduleRuleFactory

NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin, on a Monday


@pytest.fixture(autouse=True)
def _at_noon(set_clock: Callable[[datetime], None], settings: Any, sent: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600
    set_clock(NOON)


@pytest.fixture
def plain(artist: User) -> Client:
    """The artist's browser, without scripts."""
    client = Client()
    client.force_login(artist)
    return client


@pytest.fixture
def htmx(artist: User) -> Client:
    """The artist's browser, in which htmx asks."""
    client = Client(headers={"HX-Request": "true"})
    client.force_login(artist)
    return client


@pytest.fixture
def read() -> Callable[[Any], Page]:
    return Page


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    """Every day at nine, switched on."""
    made: Automation = AutomationFactory(workspace=account.workspace, account=account, name="Evening sketch")
    ScheduleRuleFactory(automation=made)
    plan_anew([made])
    return made


@pytest.fixture
def make_drafts(workspace: Workspace) -> Callable[..., list[Deviation]]:
    """Makes drafts that are ready, the oldest first."""

    def make(*titles: str, **fields: Any) -> list[Deviation]:
        made: list[Deviation] = [ReadyDraftFactory(workspace=workspace, title=title, **fields) for title in titles]
        for number, draft in enumerate(made):
            Deviation.objects.filter(pk=draft.pk).update(created_at=NOON - timedelta(days=len(made) - number))
        return made

    return make


@pytest.fixture
def typed(read: Callable[[Any], Page]) -> Callable[..., dict[str, Any]]:
    """What a browser would send of the editor as it is, with some fields changed; None takes a field out."""

    def of(response: Any, **changed: Any) -> dict[str, Any]:
        fields = fields_of(response)
        for name, value in changed.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        return fields

    return of


def fields_of(response: Any) -> dict[str, Any]:
    """The fields of the form with the id `editor`, as a browser would send them."""
    found = Form()
    found.feed(response.content.decode())
    return found.fields


class Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        self.inside, self.select, self.area, self.chosen = False, "", "", False
        self.first: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        if tag == "form":
            self.inside = at.get("id") == "editor"
        if not self.inside:
            return
        name, value = at.get("name") or "", at.get("value") or ""
        if tag == "input" and name:
            if at.get("type") not in {"checkbox", "radio"}:
                self._add(name, value)
            elif "checked" in at:
                self._add(name, value if "value" in at else "on")
        elif tag == "textarea":
            self.area = name
            self.fields[name] = ""
        elif tag == "select":
            self.select, self.chosen, self.first = name, False, None
        elif tag == "option" and self.select:
            if self.first is None:
                self.first = value
            if "selected" in at:
                self.fields[self.select], self.chosen = value, True

    def _add(self, name: str, value: str) -> None:
        if name in self.fields:
            before = self.fields[name]
            self.fields[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            self.fields[name] = value

    def handle_data(self, data: str) -> None:
        if self.area:
            self.fields[self.area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "textarea":
            # The first line's end is none, and every other is sent as two characters.
            self.fields[self.area] = self.fields[self.area].removeprefix("\n").replace("\n", "\r\n")
            self.area = ""
        elif tag == "select":
            if self.select and not self.chosen and self.first is not None:
                self.fields[self.select] = self.first
            self.select = ""
