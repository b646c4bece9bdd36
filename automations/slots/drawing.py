import hashlib
from datetime import date
from uuid import UUID


def draw(seed: int, rule_id: UUID, day: date, ordinal: int, what: str = "") -> float:
    """A number from 0 (included) to 1 (not), evenly spread and always the same for the same arguments.

    ``what`` tells apart what is drawn for one slot.
    """
    said = f"{seed}:{rule_id}:{day.isoformat()}:{ordinal}:{what}".encode()
    # 53 bits are what a float holds, so that none is rounded up to 1.
    return (int.from_bytes(hashlib.blake2b(said, digest_size=8).digest()) >> 11) / 2**53
