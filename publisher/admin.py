"""The operator's door to the publisher: what was sent, what came back, and who is at work."""

from collections.abc import Callable
from typing import cast

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline

from accounts.admin import ReadOnlyAdmin
from accounts.models import DeviantArtAccount, User
from accounts.services.holding import pause_account, release_account
from deviations.admin import do_to_works
from deviations.services.changing import BulkResult
from deviations.services.reasons import held_installation
from deviations.services.scheduling import cancel_many, retry_many
from publisher.models import Attempt, GalleryCheck, InstallationHold, Publication, StashItem, Worker
from publisher.models.holds import GalleryCheckQuerySet
from publisher.models.publications import PublicationQuerySet
from publisher.services import restoring
from publisher.services.deciding import look_again_at_many


class AttemptsInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    model = Attempt
    fields = ("step", "started_at", "ended_at", "outcome", "category", "http_status", "error_code", "answer")
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    list_display = ("deviation", "account", "state", "failures", "crashes", "url", "next_look_at", "published_at")
    list_filter = ("state", ("remote_deviation_id", admin.EmptyFieldListFilter))
    list_select_related = ("deviation", "account")
    search_fields = ("=id", "=deviation__id", "=remote_deviation_id", "deviation__title", "account__username")
    ordering = ("-created_at",)
    show_full_result_count = False
    inlines = (AttemptsInline,)
    actions = ("retry", "look_again", "cancel", "hold", "release")

    @admin.action(description=_("Try again: send what is not live of failed works"), permissions=["change"])
    def retry(self, request: HttpRequest, publications: PublicationQuerySet) -> None:
        self._do(request, publications, retry_many)

    @admin.action(description=_("Look again whether it is live"), permissions=["change"])
    def look_again(self, request: HttpRequest, publications: PublicationQuerySet) -> None:
        self._do(request, publications, look_again_at_many)

    @admin.action(description=_("Cancel: take its work off the schedule"), permissions=["change"])
    def cancel(self, request: HttpRequest, publications: PublicationQuerySet) -> None:
        self._do(request, publications, cancel_many)

    @admin.action(description=_("Hold its account: let nothing out"), permissions=["change"])
    def hold(self, request: HttpRequest, publications: PublicationQuerySet) -> None:
        self._do_to_accounts(request, publications, pause_account)

    @admin.action(description=_("Release its account: let works out again"), permissions=["change"])
    def release(self, request: HttpRequest, publications: PublicationQuerySet) -> None:
        self._do_to_accounts(request, publications, release_account)

    def _do(self, request: HttpRequest, publications: PublicationQuerySet, service: Callable[..., BulkResult]) -> None:
        ids = publications.order_by("deviation_id").values_list("deviation_id", flat=True).distinct()
        do_to_works(self, request, list(ids), service)

    def _do_to_accounts(
        self, request: HttpRequest, publications: PublicationQuerySet, service: Callable[..., None]
    ) -> None:
        accounts = list(DeviantArtAccount.objects.filter(pk__in=publications.order_by().values("account_id")))
        for account in accounts:
            service(account, user=cast(User, request.user))
        text = ngettext("Done: %(count)s account.", "Done: %(count)s accounts.", len(accounts))
        self.message_user(request, text % {"count": len(accounts)}, messages.SUCCESS)


@admin.register(StashItem)
class StashItemAdmin(ReadOnlyAdmin):
    list_display = ("item_id", "publication", "account", "state", "created_at")
    list_filter = ("state",)
    list_select_related = ("publication", "account")
    search_fields = ("=item_id", "=publication__id", "account__username")
    ordering = ("-created_at",)
    show_full_result_count = False


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "publication",
        "step",
        "started_at",
        "ended_at",
        "outcome",
        "category",
        "http_status",
        "settled_at",
    )
    list_filter = ("step", "outcome", "category")
    list_select_related = ("publication",)
    search_fields = ("=id", "=publication__id", "=publication__deviation__id", "=correlation_id")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("host", "process_id", "slots", "started_at", "alive_until")
    ordering = ("-alive_until",)


@admin.register(InstallationHold)
class InstallationHoldAdmin(ReadOnlyAdmin):
    """Why nothing goes out; a hold ends by itself once its reason is gone."""

    list_display = ("reason", "why", "since", "params")
    ordering = ("since",)

    @admin.display(description=_("Why"))
    def why(self, hold: InstallationHold) -> str:
        return str(held_installation(hold.reason))


@admin.register(GalleryCheck)
class GalleryCheckAdmin(ReadOnlyAdmin):
    list_display = ("account", "published_after", "created_at", "next_try_at", "done_at")
    list_filter = (("done_at", admin.EmptyFieldListFilter),)
    list_select_related = ("account",)
    search_fields = ("=id", "account__username")
    ordering = ("-created_at",)
    actions = ("check_again", "lift")

    @admin.action(description=_("Read these galleries now"), permissions=["change"])
    def check_again(self, request: HttpRequest, checks: GalleryCheckQuerySet) -> None:
        self._say(request, restoring.check_again(checks))

    @admin.action(description=_("Let these accounts go on unchecked: works may go out twice"), permissions=["change"])
    def lift(self, request: HttpRequest, checks: GalleryCheckQuerySet) -> None:
        self._say(request, restoring.lift_checks(checks, user=cast(User, request.user)))

    def _say(self, request: HttpRequest, count: int) -> None:
        text = ngettext("Done: %(count)s account.", "Done: %(count)s accounts.", count) % {"count": count}
        self.message_user(request, text, messages.SUCCESS)
