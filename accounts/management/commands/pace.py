"""`./dev manage pace`: how fast each account may call DeviantArt, and what holds it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from accounts.models import DeviantArtAccount
from accounts.services.pacing import gate, reset_installation, reset_pace
from deviantart.breaker import BreakerState, Position
from deviantart.pace import PaceState

APPLICATION = "application"
HEADINGS = ("ACCOUNT", "ONE CALL IN", "NEXT IN", "ACCEPTED", "REFUSED", "LAST CALL", "LAST 429", "HELD BY")


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value else "-"


class Command(BaseCommand):
    help = (
        "Show the pace of the application and of every account that has called DeviantArt in the last days, or "
        "forget what was learnt of one: its spacing, its penalty, its breaker."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--reset", metavar="ACCOUNT", help=f"the name or the id of an account, or “{APPLICATION}” for all together"
        )

    def handle(self, *_arguments: Any, **options: Any) -> None:
        try:
            if options["reset"]:
                self._reset(options["reset"])
            else:
                self._show()
        except RedisError as error:
            raise CommandError(f"Redis, which keeps the pace, does not answer ({type(error).__name__}).") from error

    def _show(self) -> None:
        ways = gate()
        paces = {state.account: state for state in ways.pace.states()}
        breakers = {state.account: state for state in ways.breaker.states()}
        known = [account for account in paces.keys() | breakers.keys() if account is not None]
        names = {
            str(pk): username
            for pk, username in DeviantArtAccount.objects.filter(pk__in=known).values_list("pk", "username")
        }
        known.sort(key=lambda account: (names.get(account, ""), account))
        rows = [self._row(names.get(account, account), paces.get(account), breakers.get(account)) for account in known]
        self.stdout.write(table([HEADINGS, self._row(APPLICATION, paces.get(None), breakers.get(None)), *rows]))

    def _row(self, name: str, pace: PaceState | None, breaker: BreakerState | None) -> tuple[str, ...]:
        held = []
        if pace is not None and pace.is_penalty:
            held.append("a 429" if pace.refused_in_a_row < 2 else f"{pace.refused_in_a_row} times 429")
        if breaker is not None and breaker.position is not Position.CLOSED:
            held.append(f"its breaker ({breaker.position.replace('_', '-')}: {breaker.cause})")
        if pace is None:
            return (name, "-", "-", "0", "0", "-", "-", ", ".join(held))
        return (
            name,
            seconds(pace.spacing_seconds),
            seconds(pace.wait_seconds),
            str(pace.accepted),
            str(pace.refused),
            f"{pace.last_call_at:%Y-%m-%d %H:%M:%S}" if pace.last_call_at else "-",
            f"{pace.last_refusal_at:%Y-%m-%d %H:%M:%S}" if pace.last_refusal_at else "-",
            ", ".join(held),
        )

    def _reset(self, name: str) -> None:
        if name == APPLICATION:
            reset_installation()
            self.stdout.write("The application starts anew, and the breaker of the installation is closed.")
            return
        account = self._account(name)
        reset_pace(account)
        self.stdout.write(f"{account.username} starts anew.")

    def _account(self, name: str) -> DeviantArtAccount:
        try:
            found = list(DeviantArtAccount.objects.filter(pk=UUID(name)))
        except ValueError:
            found = list(DeviantArtAccount.objects.connected().filter(username__iexact=name))
        if len(found) != 1:
            several = ", ".join(str(account.pk) for account in found)
            raise CommandError(f"“{name}” is {several}: name one by its id." if found else f"There is no “{name}”.")
        return found[0]
