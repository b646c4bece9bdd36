"""multipart/form-data, parsed while it arrives: fields are collected, files go to disk and are hashed on the way."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MAX_FIELDS_BYTES = 2 * 1024 * 1024
_MAX_HEADERS_BYTES = 16 * 1024
_NUMBERS = count()
# Like PHP's, this knows no ``filename*``: a part that has only that is no file.
_DISPOSITION = re.compile(r'\b(name|filename)=(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))')


class Upload:
    """A file part on its way to disk. ``sha256`` and ``size`` are those of all its bytes, even beyond the limit."""

    def __init__(self, folder: Path, *, filename: str, content_type: str, max_bytes: int) -> None:
        self.filename = filename
        self.content_type = content_type
        self.size = 0
        self.max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self.path = folder / str(next(_NUMBERS))
        self._file = self.path.open("wb")

    @property
    def too_large(self) -> bool:
        return self.size > self.max_bytes

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        self._digest.update(piece)
        if not self.too_large:
            self._file.write(piece)

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass
class _Part:
    name: str
    upload: Upload | None  # None: a field, or a file that nobody asked for
    is_field: bool
    value: bytearray


class MultipartParser:
    """Fed with pieces of a body. ``fields`` keep their order; ``upload`` is the first file.

    ``complete`` comes true with the closing delimiter; a body that breaks the rules never gets there.
    ``nameless_file`` tells of a part with a content type but no filename, on which DeviantArt answers 500.
    """

    def __init__(self, boundary: str, open_upload: Callable[[str, str], Upload] | None) -> None:
        self.fields: list[tuple[str, str]] = []
        self.upload: Upload | None = None
        self.nameless_file = False
        self._open_upload = open_upload
        self._delimiter = b"\r\n--" + boundary.encode("latin-1")
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter looks like all others
        self._part: _Part | None = None
        self._fields_bytes = 0
        self._state = self._skip_preamble

    def feed(self, piece: bytes) -> None:
        self._buffer += piece
        while self._state():
            pass

    @property
    def complete(self) -> bool:
        return self._state == self._skip_rest

    def discard(self) -> None:
        if self.upload is not None:
            self.upload.discard()

    def _skip_preamble(self) -> bool:
        start = self._buffer.find(self._delimiter)
        if start < 0:
            del self._buffer[: max(0, len(self._buffer) - len(self._delimiter))]
            return False
        del self._buffer[: start + len(self._delimiter)]
        self._state = self._after_delimiter
        return True

    def _after_delimiter(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--"):
            self._state = self._skip_rest
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        del self._buffer[: end + 2]
        self._state = self._read_headers
        return True

    def _read_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEADERS_BYTES:
                self._state = self._give_up
                return True
            return False
        self._part = self._begin(bytes(self._buffer[:end]).decode("utf-8", "replace"))
        del self._buffer[: end + 4]
        self._state = self._read_content
        return True

    def _read_content(self) -> bool:
        end = self._buffer.find(self._delimiter)
        if end >= 0:
            self._content(bytes(self._buffer[:end]))
            del self._buffer[: end + len(self._delimiter)]
            self._end()
            self._state = self._give_up if self._fields_bytes > MAX_FIELDS_BYTES else self._after_delimiter
            return True
        # A delimiter may have begun at the end of this piece.
        safe = len(self._buffer) - len(self._delimiter)
        if safe > 0:
            self._content(bytes(self._buffer[:safe]))
            del self._buffer[:safe]
        return False

    def _skip_rest(self) -> bool:
        self._buffer.clear()
        return False

    def _give_up(self) -> bool:
        self._buffer.clear()
        return False

    def _begin(self, head: str) -> _Part:
        headers = {}
        for line in head.split("\r\n"):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        disposition = headers.get("content-disposition", "")
        parameters = {name: quoted or plain for name, quoted, plain in _DISPOSITION.findall(disposition)}
        content_type = headers.get("content-type", "")
        filename = parameters.get("filename")
        upload = None
        if filename is None:
            self.nameless_file = self.nameless_file or ("content-type" in headers and "text/plain" not in content_type)
        elif self.upload is None and self._open_upload is not None:
            upload = self.upload = self._open_upload(_unquote(filename), content_type)
        return _Part(_unquote(parameters.get("name", "")), upload, filename is None, bytearray())

    def _content(self, piece: bytes) -> None:
        part = self._part
        if part is None or not piece:
            return
        if part.upload is not None:
            part.upload.write(piece)
        elif part.is_field:
            self._fields_bytes += len(piece)
            if self._fields_bytes <= MAX_FIELDS_BYTES:
                part.value += piece

    def _end(self) -> None:
        part = self._part
        if part is None:
            return
        if part.upload is not None:
            part.upload.close()
        elif part.is_field:
            self.fields.append((part.name, part.value.decode("utf-8", "replace")))
        self._part = None


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart/form-data header, None for any other type."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None
    match = re.search(r'boundary="?([^";,]+)"?', parameters)
    return match.group(1) if match else None


def _unquote(value: str) -> str:
    """Undo what browsers and libraries do to quotes and line breaks inside a quoted parameter."""
    return value.replace('\\"', '"').replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
