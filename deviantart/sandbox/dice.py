"""Everything random, from one seed."""

import random
import uuid


class Dice:
    """Two sequences: one for names and secrets, one for behaviour.

    Behaviour begins anew with each seed, so that a run can be replayed. Ids go on with each ``generation`` (a start or
    a reset): an id or a token from before must never come back as somebody else's.
    """

    def __init__(self, seed: int, generation: int) -> None:
        self._ids = random.Random(f"ids {seed} {generation}")
        self._behaviour = random.Random(f"behaviour {seed}")

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

    def happens(self, chance: float) -> bool:
        return self._behaviour.random() < chance

    def pick(self, values: list[str]) -> str:
        return self._behaviour.choice(values)
