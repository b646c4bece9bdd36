"""What the list of works can be narrowed to, how it is sorted, and where its next page begins."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from django.db.models import Count, F, Func, Q, TextField, Value
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount, User, Workspace
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet

PAGE_SIZE = 50
Status = Deviation.Status


def _held() -> Q:
    return Q(status=Status.SCHEDULED) & ~Q(account__in=DeviantArtAccount.objects.able())


@dataclass(frozen=True, slots=True)
class Filter:
    """``name`` is what the address says; ``icon`` is the `data-status` of its colour, too, and empty without one."""

    name: str
    word: str | Promise
    where: Callable[[], Q]
    icon: str = ""
    order: str = "-updated_at"
    # Shown even while there is nothing of it.
    always: bool = False


FILTERS = [
    Filter("all", _("All"), Q, always=True),
    Filter("review", _("In review"), lambda: Q(status=Status.REVIEW), "review"),
    Filter("draft", _("Drafts"), lambda: Q(status=Status.DRAFT), "draft", always=True),
    Filter("ready", _("Ready"), lambda: Q(status=Status.DRAFT, ready_at__isnull=False), "automation"),
    Filter("scheduled", _("Scheduled"), lambda: Q(status=Status.SCHEDULED), "scheduled", "publish_at", always=True),
    Filter(
        "moving",
        _("On their way"),
        lambda: Q(status__in=[Status.UPLOADING, Status.PUBLISHING]),
        "uploading",
        "publish_at",
    ),
    Filter("published", _("Published"), lambda: Q(status=Status.PUBLISHED), "published", "-published_at", always=True),
    Filter("failed", _("Failed"), lambda: Q(status=Status.FAILED), "failed"),
    Filter("decision", _("Need you"), lambda: Q(status=Status.NEEDS_DECISION), "decision"),
    Filter("held", _("Held"), _held, "held", "publish_at"),
    Filter("trash", _("Trash"), Q, "trash", "-trashed_at"),
]
BY_NAME = {one.name: one for one in FILTERS}


@dataclass(frozen=True, slots=True)
class Tab:
    filter: Filter
    count: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The last work of a page: the next one begins behind it, whatever has been changed meanwhile."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.at.isoformat()},{self.id}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What ``str`` has written; None for anything else."""
        at, _comma, pk = text.partition(",")
        try:
            place = cls(datetime.fromisoformat(at), UUID(pk))
        except ValueError:
            return None
        return place if place.at.tzinfo else None


def named(name: str) -> Filter:
    """The filter of that name; *all* for names that are none."""
    return BY_NAME.get(name, FILTERS[0])


def works_of(user: User) -> DeviationQuerySet:
    """What the workspaces of ``user`` own, for lists: asked by the ids of these, a list is read from its index."""
    ids = list(Workspace.objects.of(user).values_list("pk", flat=True))
    return Deviation.objects.filter(workspace_id__in=ids)


def narrow(works: DeviationQuerySet, chosen: Filter, *, query: str = "") -> DeviationQuerySet:
    kept = works.trashed() if chosen.name == "trash" else works.kept()
    found = kept.filter(chosen.where())
    if not query:
        return found
    tags = Func(F("tags"), Value(" "), function="array_to_string", output_field=TextField())
    return found.alias(all_tags=tags).filter(Q(title__icontains=query) | Q(all_tags__icontains=query))


def page(works: DeviationQuerySet, chosen: Filter, *, after: Place | None) -> tuple[list[Deviation], Place | None]:
    """One page of works that ``narrow`` has found, and where the next one begins (None: there is none)."""
    field, backwards = chosen.order.lstrip("-"), chosen.order.startswith("-")
    if after is not None:
        step = "lt" if backwards else "gt"
        further = Q(**{f"{field}__{step}": after.at}) | Q(**{field: after.at, f"pk__{step}": after.id})
        works = works.filter(further)
    found = list(works.order_by(chosen.order, "-pk" if backwards else "pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    more = len(found) > PAGE_SIZE
    return shown, Place(getattr(shown[-1], field), shown[-1].pk) if more else None


def tabs(works: DeviationQuerySet, current: Filter) -> list[Tab]:
    """The filters with how many works each has; those that have none and need not be there are left out."""
    kept, trashed = Q(trashed_at__isnull=True), Q(trashed_at__isnull=False)
    counts = works.aggregate(
        **{
            f"is_{one.name}": Count("pk", filter=(trashed if one.name == "trash" else kept) & one.where())
            for one in FILTERS
        }
    )
    shown = [Tab(one, counts[f"is_{one.name}"], one == current) for one in FILTERS]
    return [tab for tab in shown if tab.count or tab.filter.always or tab.is_current]
