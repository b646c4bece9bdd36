"""How each kind of file is built: what it says of itself, and how it reads without what nobody meant to publish.

Every module here has ``inspect(data) -> Facts`` and ``stripped(data)``, which yields the file again, piece by piece,
without places, serial numbers, prompts and comments, and with the same pixels. Nothing is decoded. Both raise Refused
for a file that breaks the rules of its format, and both take time in proportion to the file's size at most.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class Facts:
    """``width`` and ``height`` are pixels as stored; ``orientation`` (EXIF, 1 to 8) says how they are to be turned."""

    width: int
    height: int
    frames: int = 1
    orientation: int = 1
    duration_seconds: float | None = None

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as somebody sees them."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


class Container(Protocol):
    def inspect(self, data: Buffer) -> Facts: ...
    def stripped(self, data: Buffer) -> Iterator[bytes]: ...
