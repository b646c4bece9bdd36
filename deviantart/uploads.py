"""The file part of an upload: streamed, exactly as long as announced, and whole only if it is the right file."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from deviantart.errors import Call, FileChanged
from deviantart.transport import Exchange

# So much of a file is held back until its digest agrees: without its end DeviantArt has received nothing.
HELD_BACK_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024


class Readable(Protocol):
    """Anything with ``read(size)``: a file, or the body of an object in storage."""

    def read(self, size: int, /) -> bytes: ...


class Resumable:
    """A file whose reading goes on where it broke off.

    ``open_at(offset)`` opens it at a byte; it is called again when reading raises one of ``breaks``, up to ``times``
    times in the whole file, after which the error comes through. That it is still the same file only a digest can say.
    """

    def __init__(
        self,
        open_at: Callable[[int], Readable],
        *,
        breaks: type[Exception] | tuple[type[Exception], ...],
        times: int = 3,
    ) -> None:
        self._open_at = open_at
        self._breaks = breaks
        self._times = times
        self._offset = 0
        self._source: Readable | None = None

    def read(self, size: int, /) -> bytes:
        while True:
            try:
                if self._source is None:
                    self._source = self._open_at(self._offset)
                chunk = self._source.read(size)
            except self._breaks:
                self.close()
                if self._times == 0:
                    raise
                self._times -= 1
            else:
                self._offset += len(chunk)
                return chunk

    def close(self) -> None:
        """Let go of what is open; a later read would open it again."""
        source, self._source = self._source, None
        if source is not None and hasattr(source, "close"):
            source.close()


class FilePart:
    """What the encoder reads: ``len`` is what is left, ``read`` gives no more than was asked for.

    The length was announced in the header, so exactly that many bytes must follow; whether there are more, or other
    ones than ``sha256`` (in hex) promises, is found out before the last of them go. Raises FileChanged then.
    """

    def __init__(
        self, file: Readable | Iterable[bytes], size: int, exchange: Exchange, sha256: str | None = None
    ) -> None:
        self.len = size
        self._size = size
        self._exchange = exchange
        read = file.read if hasattr(file, "read") else _reader(iter(file))
        self._read = read if sha256 is None else _reader(self._checked(read, sha256))

    def read(self, size: int = -1) -> bytes:
        wanted = self.len if size < 0 else min(size, self.len)
        self._exchange.check()  # nothing is written while the encoder gathers many small pieces
        with self._exchange.ours():
            chunk = self._read(wanted)
            self.len -= len(chunk)
            if (wanted and not chunk) or (self.len == 0 and self._read(1)):
                raise _changed(f"{self._size} bytes were announced, there are {'fewer' if self.len else 'more'}")
        return chunk

    def _checked(self, read: Callable[[int], bytes], sha256: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        waiting = b""
        while chunk := read(_CHUNK_BYTES):
            digest.update(chunk)
            waiting += chunk
            if len(waiting) > HELD_BACK_BYTES:
                yield waiting[:-HELD_BACK_BYTES]
                waiting = waiting[-HELD_BACK_BYTES:]
            self._exchange.check()
        if digest.hexdigest() != sha256.lower():
            raise _changed("its SHA-256 is another one")
        yield waiting


def _changed(how: str) -> FileChanged:
    return FileChanged(call=Call.SUBMIT, description=how)


def _reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """``read(size)`` over an iterator of byte strings."""
    rest = memoryview(b"")  # a large chunk is taken in small pieces without copying what is left each time

    def read(size: int) -> bytes:
        nonlocal rest
        while not rest and (chunk := next(chunks, None)) is not None:
            rest = memoryview(chunk)
        taken, rest = bytes(rest[:size]), rest[size:]
        return taken

    return read
