"""`./dev manage seed_demo`: artists and works to look at, in the running stack."""

import json
import random
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deviations.services.demo import make_artist
from isekai.errors import IsekaiError

MOST = 1000


def number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise CommandError(f"“{text}” is no number from 1 to {MOST}.")
    return int(text)


class Command(BaseCommand):
    help = (
        "Connect artists through the sandbox's login and give them works: some drafts, some that go out within the "
        "next minutes. Running it again adds more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--artists", type=number, default=2, help="how many artists (2)")
        parser.add_argument("--works", type=number, default=6, help="how many works each of them has (6)")
        parser.add_argument("--json", action="store_true", help="print where everything is as one line of JSON")

    def handle(self, *_arguments: Any, **options: Any) -> None:
        rng = random.Random()  # noqa: S311 - pictures, no secrets
        try:
            artists = [
                make_artist(index, works=options["works"], rng=rng, tell=self._tell)
                for index in range(options["artists"])
            ]
        except IsekaiError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            where = {
                "base_url": settings.PUBLIC_URL,
                "sandbox_url": settings.DEVIANTART_BASE_URL,
                "artists": [{"username": each.account.username, "api_key": each.api_key} for each in artists],
            }
            self.stdout.write(json.dumps(where))
            return
        self.stdout.write(f"\nSign in at {settings.PUBLIC_URL} with DeviantArt as one of:")
        for each in artists:
            self.stdout.write(f"  {each.account.username:<24} API key {each.api_key}")
        self.stdout.write(f"What is published appears at {settings.DEVIANTART_BASE_URL}.")

    def _tell(self, line: str) -> None:
        self.stderr.write(line)
