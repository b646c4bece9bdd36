"""Everything random, from one seed."""

import hashlib
import random
import uuid
from collections.abc import Sequence
from typing import TypeVar

_Value = TypeVar("_Value")


class Dice:
    """Names and secrets. They go on with each ``generation`` (a start or a reset): an id or a token from before must
    never come back as somebody else's.
    """

    def __init__(self, seed: int, generation: int) -> None:
        self._ids = random.Random(f"ids {seed} {generation}")

    def hexadecimal(self, digits: int) -> str:
        return f"{self._ids.getrandbits(4 * digits):0{digits}x}"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4)).upper()

    def long_id(self) -> int:
        """Sixteen digits, as stash items and stacks have: more than fits into 32 bits."""
        return self._ids.randrange(10**15, 9 * 10**15)

    def page_number(self) -> int:
        """The number at the end of a deviation's address."""
        return self._ids.randrange(10**9, 10**10)


class Rolls:
    """What chance has in store for one request, question by question.

    Nothing is drawn in a row: the answer hangs on the seed, on ``about`` (who asks for what, and for which time) and on
    the question alone. So a run can be replayed although other artists' calls fall in between at other moments.
    """

    def __init__(self, seed: int, about: str) -> None:
        self._key = f"{seed}\n{about}\n"

    def share(self, question: str) -> float:
        """From 0 to 1, without 1."""
        digest = hashlib.blake2b((self._key + question).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big") / 2**56

    def happens(self, question: str, chance: float) -> bool:
        return self.share(question) < chance

    def pick(self, question: str, values: Sequence[_Value]) -> _Value:
        return values[int(self.share(question) * len(values))]
