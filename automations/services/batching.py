"""Working off what is due, some at a time, so that what cannot be done keeps nothing else back."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Some:
    """What came of taking up some of what is due."""

    finished: Collection[Any] = ()  # the ids of what is not to be taken up again
    count: int = 0
    # Whether there was anything.
    found: bool = True


NOTHING = Some(found=False)
# Does some of what is due, without those ids, or only that of one.
DoSome = Callable[[Collection[Any], Any], Some]


def work_off(do_some: DoSome, due: Callable[[Collection[Any]], Collection[Any]], *, name: str) -> int:
    """Call ``do_some`` until there is nothing any more; returns how much came of it.

    Where it fails, each of what is ``due`` is tried by itself, and what fails by itself is left for the next time.
    Raises only what says that the database is away.
    """
    finished: set[Any] = set()
    total = 0
    while True:
        try:
            some = do_some(finished, None)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("some_failed", what=name)
            some = _one_by_one(do_some, due(finished), finished, name=name)
        if not some.found:
            return total
        finished |= set(some.finished)
        total += some.count


def _one_by_one(do_some: DoSome, ids: Collection[Any], finished: Collection[Any], *, name: str) -> Some:
    total = 0
    for one in ids:
        try:
            total += do_some(finished, one).count
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("one_failed", what=name, id=str(one))
    return Some(ids, total, found=bool(ids))
