"""`./dev manage rotate_secrets`: everything that is encrypted, put under the newest key (docs/keys.md)."""

import time
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.errors import KeyNotLost
from accounts.services import rotating
from accounts.services.rotating import Rotation

MOST = 10_000
# Often enough to see that it goes on, seldom enough to be read.
TELL_SECONDS = 1.0


def number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise CommandError(f"“{text}” is no number from 1 to {MOST}.")
    return int(text)


class Command(BaseCommand):
    help = (
        "Put everything that is encrypted under the first key of ENCRYPTION_KEY, while Isekai runs. May be ended at "
        "any moment and run again: it goes on where it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=number, default=rotating.BATCH, help=f"rows at a time ({rotating.BATCH})", metavar="N"
        )
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--retire", action="store_true", help="then retire the older keys, once every process has the new one"
        )
        either.add_argument(
            "--drill", action="store_true", help="only show that it would work: take every batch back again"
        )
        either.add_argument(
            "--give-up",
            metavar="KEY_ID",
            help="do without a key that is lost: what is under it is erased, and the owners have to connect again",
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        self.told_at = 0.0
        if options["give_up"]:
            self._give_up(options["give_up"])
            return
        rotate = rotating.rehearse_rotation if options["drill"] else rotating.rotate_secrets
        try:
            rotation = rotate(batch=options["batch"], watch=self._tell)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if options["drill"]:
            self.stdout.write(f"{rotation.done} of {rotation.total} rows could be put under a new key, and were left.")
        else:
            self.stdout.write(f"{rotation.done} rows were put under the key {rotation.key_id}.")
        self._complain(rotation)
        if options["retire"]:
            self._retire()

    def _give_up(self, name: str) -> None:
        try:
            accounts = rotating.give_up_key(name)
        except KeyNotLost as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{accounts} accounts have to be connected again; their owners are told.")

    def _tell(self, rotation: Rotation) -> None:
        if time.monotonic() - self.told_at >= TELL_SECONDS:
            self.told_at = time.monotonic()
            self.stderr.write(f"{rotation.done} of {rotation.total} rows under the key {rotation.key_id} …")

    def _complain(self, rotation: Rotation) -> None:
        if rotation.unreadable:
            accounts = ", ".join(sorted(map(str, rotation.unreadable)))
            raise CommandError(
                f"The secrets of these accounts cannot be read; their owners have to connect: {accounts}"
            )
        if rotation.left:
            raise CommandError(
                f"{rotation.left} rows are under another key again: some process still writes with it. Start all of "
                "them with the new key in front, then run this once more."
            )

    def _retire(self) -> None:
        retired, in_use = rotating.retire_unused_keys()
        self.stdout.write(
            f"Retired, may leave ENCRYPTION_KEY: {', '.join(retired)}." if retired else "No key was to be retired."
        )
        if in_use:
            raise CommandError(f"Still in use: {', '.join(in_use)}. Run this once more.")
