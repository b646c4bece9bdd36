"""What was asked of Isekai and done to it during a run, with the times of both: one JSON object a line."""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

KEPT: Literal["kept"] = "kept"


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer, or for want of one the request, says that a work is from then on. Times are Unix seconds.

    ``publish_at`` None: not scheduled; KEPT: as it was before, like the other fields that are None.
    """

    publish_at: float | Literal["kept"] | None
    title: str | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One change that was asked for. ``answered`` and ``status`` are None where no answer came.

    ``reached`` is False where the request certainly was not sent: nobody listened.
    """

    work: str
    name: str
    sent: float
    answered: float | None
    status: int | None
    said: Said
    code: str = ""
    version: str = ""
    reached: bool = True

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and self.status < 300

    @property
    def is_unknown(self) -> bool:
        """Whether nobody knows, by the answer alone, if it was done."""
        return self.reached and (self.status is None or self.status >= 500)


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was done; ``until`` None where it is over at once.

    ``since``: when the dump that was put back had been taken.
    """

    kind: str
    target: str
    at: float
    until: float | None = None
    since: float | None = None


@dataclass(slots=True)
class History:
    """Kept in a file as it happens, so that a run that dies leaves it."""

    path: Path
    actions: list[Action] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, what: str, **values: Any) -> None:
        """Anything else that somebody who reads it later should know."""
        self._write({"what": what, **values})

    def add(self, action: Action) -> None:
        self.actions.append(action)
        self._write({"what": "action", **asdict(action)})

    def strike(self, struck: Struck) -> None:
        self.struck.append(struck)
        self._write({"what": "fault", **asdict(struck)})

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8") as out:
            out.write(text)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a history that was kept."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
