"""`./dev manage restored`: whether the database has forgotten publishes, and what is done about it."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import DeviantArtAccount
from publisher.models import GalleryCheck, InstallationHold
from publisher.models.holds import GalleryCheckQuerySet
from publisher.services import marks, restoring
from publisher.services.marks import MarkUnknown

ALL = "all"


class Command(BaseCommand):
    help = (
        "Show what is known of publishes outside the database, whether the database lacks any of them, and the "
        "accounts whose galleries have to be compared before anything of them goes out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        does = parser.add_mutually_exclusive_group()
        does.add_argument(
            "--compare",
            action="store_true",
            help="compare now, as a publisher does when it starts, and hold if need be",
        )
        does.add_argument("--check", metavar="ACCOUNT", help=f"compare its gallery at once (a name, an id, or “{ALL}”)")
        does.add_argument(
            "--lift",
            metavar="ACCOUNT",
            help=f"let it go on without a comparison (a name, an id, or “{ALL}”): what was published since the backup "
            "is then published a second time, unless you have made sure that nothing was",
        )
        does.add_argument(
            "--separate",
            action="store_true",
            help="this database is a copy that lives beside its original: marks of the original do not concern it",
        )
        parser.add_argument("--yes", action="store_true", help="do not ask before --lift or --separate")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        if options["compare"]:
            self._compare()
        elif options["check"]:
            count = restoring.check_again(self._checks(options["check"]))
            self.stdout.write(f"Checks that a publisher begins with its next tick: {count}.")
        elif options["lift"]:
            checks = self._checks(options["lift"])
            self._confirm(options, f"{checks.count()} accounts go on without a look at their galleries.")
            self.stdout.write(f"Accounts that go on: {restoring.lift_checks(checks)}.")
        elif options["separate"]:
            self._confirm(options, "From now on no publish of the original holds this copy.")
            self.stdout.write(f"This is installation {marks.become_another_installation()} now.")
        self._show()

    def _compare(self) -> None:
        try:
            knows_all = restoring.compare_with_mark()
        except MarkUnknown as error:
            raise CommandError(str(error)) from error
        self.stdout.write("The database knows everything." if knows_all else "The database was behind: see below.")

    def _show(self) -> None:
        self.stdout.write(f"Installation: {marks.installation_name()}")
        try:
            mark = marks.keeper().read()
        except MarkUnknown as error:
            self.stdout.write(f"Mark: {error}")
        else:
            lacking = marks.missing(mark)
            self.stdout.write(f"Last publish that is remembered: {mark.published_at or '-'} (attempt {mark.greatest})")
            self.stdout.write(f"Of the last {len(mark.attempt_ids)} the database lacks: {len(lacking)}")
        for hold in InstallationHold.objects.order_by("reason"):
            self.stdout.write(f"Held since {hold.since:%Y-%m-%d %H:%M:%S}: {hold.get_reason_display()} {hold.params}")
        for check in GalleryCheck.objects.pending().select_related("account").order_by("next_try_at"):
            self.stdout.write(
                f"{check.account.username} ({check.account.state}): from {check.published_after:%Y-%m-%d %H:%M:%S} on, "
                f"next try {check.next_try_at:%Y-%m-%d %H:%M:%S}"
            )

    def _checks(self, name: str) -> GalleryCheckQuerySet:
        checks = GalleryCheck.objects.pending()
        if name == ALL:
            return checks
        try:
            accounts = DeviantArtAccount.objects.filter(pk=UUID(name))
        except ValueError:
            accounts = DeviantArtAccount.objects.filter(username__iexact=name)
        found = checks.filter(account__in=accounts)
        if not found:
            raise CommandError(f"No check is open for “{name}”.")
        return found

    def _confirm(self, options: dict[str, Any], what: str) -> None:
        if options["yes"]:
            return
        self.stdout.write(what)
        if input("Type “yes” if you are sure: ") != "yes":
            raise CommandError("Nothing was changed.")
