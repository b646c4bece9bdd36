"""DeviantArt's API for one artist: upload, publish, and read back (deviantart-api.md, sections 6 to 10)."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from requests_toolbelt import MultipartEncoder

from deviantart import types
from deviantart.calling import Caller, bounds_for
from deviantart.config import Config
from deviantart.errors import Call, FileChanged, PictureRefused, classify
from deviantart.transport import Exchange, NoAnswer, perform
from deviantart.types import Deviation, Folder, Metadata, Page, PublishReceipt, SubmitReceipt, User

GALLERY_PAGE_MAX = 24
FOLDER_PAGE_MAX = 50
METADATA_MAX = 50
METADATA_MAX_EXTENDED = 10


class Readable(Protocol):
    """Anything with ``read(size)``: a file, or the body of an object in storage."""

    def read(self, size: int, /) -> bytes: ...


class Client:
    """Calls of one artist. It holds no connection and no state: any number of threads may share it.

    Every method raises DeviantArtError and ends within the bounds of ``config.timeouts``; none tries again.
    ``before_send`` runs when the connection stands and not one byte has been written; what it raises ends the call with
    nothing sent.
    """

    def __init__(self, config: Config, access_token: str, *, correlation_id: str | None = None) -> None:
        # Anything else would break the header, and the complaint of the library below would show the token.
        if not re.fullmatch(r"[\x21-\x7e]+", access_token):
            raise ValueError("An access token is one word of ASCII characters.")
        self._config = config
        self._caller = Caller(config, access_token, secrets=(access_token,), correlation_id=correlation_id)

    def __repr__(self) -> str:
        return f"<Client of {self._config.base_url}>"

    def submit(
        self,
        file: Readable | Iterable[bytes],
        *,
        filename: str,
        content_type: str,
        size: int,
        title: str,
        artist_comments: str = "",
        tags: Sequence[str] = (),
        is_ai_generated: bool,
        noai: bool,
        itemid: int | None = None,
        stack: str | None = None,
        before_send: Callable[[], None] | None = None,
    ) -> SubmitReceipt:
        """Upload a file to the artist's stash, streaming it: ``file`` yields exactly ``size`` bytes.

        With ``itemid`` it overwrites that item, and if it is published already the live work (section 6). Raises
        FileChanged when there are fewer or more bytes, and what reading ``file`` raises: either way the request was
        broken off before its end. One read of ``file`` that hangs is beyond our bounds and needs its own.
        """
        exchange = Exchange(bounds_for(Call.SUBMIT, self._config.timeouts), before_send)
        fields: list[tuple[str, Any]] = [
            ("title", title),
            ("artist_comments", artist_comments),
            *(("tags[]", tag) for tag in tags),
            ("is_ai_generated", _boolean(is_ai_generated)),
            ("noai", _boolean(noai)),
        ]
        if itemid is not None:
            fields.append(("itemid", str(itemid)))
        elif stack is not None:
            fields.append(("stack", stack))
        # Last, so that everything else is known before the long part. Without a file name DeviantArt answers 500.
        fields.append(("file", (filename, _Upload(file, size, exchange), content_type)))
        body = MultipartEncoder(fields)
        return self._caller.call(
            Call.SUBMIT,
            "POST",
            f"{self._config.api_url}/stash/submit",
            read=types.submit_receipt,
            data=body,
            content_type=body.content_type,
            exchange=exchange,
        )

    def publish(
        self,
        item_id: int,
        *,
        is_mature: bool,
        mature_level: str | None = None,
        mature_classification: Sequence[str] = (),
        allow_comments: bool = True,
        allow_free_download: bool = False,
        display_resolution: int = 0,
        add_watermark: bool = False,
        gallery_ids: Sequence[str] = (),
        tags: Sequence[str] = (),
        is_ai_generated: bool = False,
        noai: bool = False,
        feature: bool = True,
        before_send: Callable[[], None] | None = None,
    ) -> PublishReceipt:
        """Make an item of the stash a public deviation.

        Raises AlreadyPublished when it was one before. After an error whose ``outcome`` is *unknown* it may be live.
        """
        data: list[tuple[str, str]] = [
            ("itemid", str(item_id)),
            ("is_mature", _boolean(is_mature)),
            ("feature", _boolean(feature)),
            ("allow_comments", _boolean(allow_comments)),
            # Always sent: left out, it has been taken as yes.
            ("allow_free_download", _boolean(allow_free_download)),
            ("is_ai_generated", _boolean(is_ai_generated)),
            ("noai", _boolean(noai)),
        ]
        if is_mature:
            if mature_level:
                data.append(("mature_level", mature_level))
            data += [("mature_classification[]", each) for each in mature_classification]
        if display_resolution:
            # The watermark is allowed only together with a resolution that is not the original's.
            data += [("display_resolution", str(display_resolution)), ("add_watermark", _boolean(add_watermark))]
        data += [("galleryids[]", each) for each in gallery_ids]
        data += [("tags[]", each) for each in tags]
        return self._caller.call(
            Call.PUBLISH,
            "POST",
            f"{self._config.api_url}/stash/publish",
            read=types.publish_receipt,
            data=data,
            exchange=Exchange(bounds_for(Call.PUBLISH, self._config.timeouts), before_send),
        )

    def whoami(self) -> User:
        """Whose token this is."""
        return self._get("user/whoami", read=lambda payload, _: types.user(payload))

    def placebo(self) -> None:
        """Ask whether the token is good, before a long upload that would notice only at its end (section 3.8)."""
        self._get("placebo", read=lambda *_: None)

    def gallery_all(
        self,
        *,
        username: str | None = None,
        offset: int = 0,
        limit: int = GALLERY_PAGE_MAX,
        mature_content: bool = True,
    ) -> Page[Deviation]:
        """One page of everything in a gallery, newest first; the artist's own without ``username``."""
        params = [("offset", str(offset)), ("limit", str(limit)), ("mature_content", _boolean(mature_content))]
        if username is not None:
            params.append(("username", username))
        return self._get(
            "gallery/all",
            params=params,
            read=lambda payload, date: types.page(payload, types.deviation, date),
        )

    def gallery_pages(
        self, *, username: str | None = None, limit: int = GALLERY_PAGE_MAX, mature_content: bool = True
    ) -> Iterator[Page[Deviation]]:
        """The pages of a gallery, newest first, each fetched when it is asked for."""
        return _pages(
            lambda offset: self.gallery_all(
                username=username, offset=offset, limit=limit, mature_content=mature_content
            )
        )

    def gallery_folders(
        self,
        *,
        username: str | None = None,
        offset: int = 0,
        limit: int = FOLDER_PAGE_MAX,
        calculate_size: bool = False,
        mature_content: bool = True,
    ) -> Page[Folder]:
        """One page of gallery folders, two levels deep; the artist's own without ``username``."""
        params = [
            ("offset", str(offset)),
            ("limit", str(limit)),
            ("calculate_size", _boolean(calculate_size)),
            ("mature_content", _boolean(mature_content)),
        ]
        if username is not None:
            params.append(("username", username))
        return self._get(
            "gallery/folders",
            params=params,
            read=lambda payload, date: types.page(payload, types.folder, date),
        )

    def gallery_folder_pages(
        self, *, username: str | None = None, limit: int = FOLDER_PAGE_MAX, calculate_size: bool = False
    ) -> Iterator[Page[Folder]]:
        """The pages of gallery folders, each fetched when it is asked for."""
        return _pages(
            lambda offset: self.gallery_folders(
                username=username, offset=offset, limit=limit, calculate_size=calculate_size
            )
        )

    def deviation_metadata(self, ids: Sequence[str], *, ext_submission: bool = False) -> tuple[Metadata, ...]:
        """What is known of up to 50 works, or up to 10 with the application that submitted each (section 9)."""
        most = METADATA_MAX_EXTENDED if ext_submission else METADATA_MAX
        if not 0 < len(ids) <= most:
            raise ValueError(f"DeviantArt tells about 1 to {most} works at once, not about {len(ids)}.")
        params = [("deviationids[]", each) for each in ids]
        if ext_submission:
            params.append(("ext_submission", "true"))
        return self._get(
            "deviation/metadata",
            params=params,
            read=lambda payload, _: types.metadata_list(payload),
        )

    def picture(self, url: str, max_bytes: int) -> bytes:
        """The bytes of a thumbnail or preview, from DeviantArt's own picture hosts only, without the token.

        Raises PictureRefused for any other address, for what is no picture, and for more than ``max_bytes``.
        """
        if not self._may_fetch(url):
            raise PictureRefused(call=Call.READ, description="not a picture of DeviantArt")
        exchange = Exchange(bounds_for(Call.READ, self._config.timeouts))
        headers = {"User-Agent": self._config.user_agent, "Accept": "image/*", "Accept-Encoding": "gzip"}
        try:
            answer = perform(
                exchange, "GET", url, headers=headers, max_bytes=max_bytes, ca_bundle=self._config.ca_bundle
            )
        except NoAnswer as silence:
            raise classify(Call.READ, silence) from None
        if answer.status != 200:
            raise classify(Call.READ, answer)
        if answer.oversized or not answer.headers.get("Content-Type", "").startswith("image/"):
            raise PictureRefused(
                call=Call.READ, http_status=answer.status, description="too large" if answer.oversized else "no picture"
            )
        return answer.body

    def _may_fetch(self, url: str) -> bool:
        # Nothing that one parser of addresses reads otherwise than the next: a backslash ends the host for some.
        if not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url):
            return False
        try:
            wanted, ours = urlsplit(url), urlsplit(self._config.base_url)
            if wanted.username is not None or wanted.password is not None:
                return False
            if (wanted.scheme, wanted.hostname, wanted.port) == (ours.scheme, ours.hostname, ours.port):
                return True
            is_picture_host = re.fullmatch(r"[a-z0-9.-]+\.wixmp\.com", wanted.hostname or "") is not None
            return wanted.scheme == "https" and wanted.port is None and is_picture_host
        except ValueError:  # a port that is no number, an unfinished IPv6 address
            return False

    def _get(self, path: str, *, read: Callable[..., Any], params: Sequence[tuple[str, str]] = ()) -> Any:
        return self._caller.call(Call.READ, "GET", f"{self._config.api_url}/{path}", read=read, params=params)


def _pages(fetch: Callable[[int], Page[Any]]) -> Iterator[Page[Any]]:
    offset: int | None = 0
    while offset is not None:
        page = fetch(offset)
        yield page
        # An offset that does not grow would go round for ever.
        offset = page.next_offset if page.next_offset is not None and page.next_offset > offset else None


class _Upload:
    """The file part of an upload as the encoder wants it: ``len`` is what is left, ``read`` takes no more than asked.

    The length was announced in the header, so exactly that many bytes must follow; whether there are more is found out
    before the last ones go.
    """

    def __init__(self, file: Readable | Iterable[bytes], size: int, exchange: Exchange) -> None:
        self.len = size
        self._size = size
        self._exchange = exchange
        self._read = file.read if hasattr(file, "read") else _reader(iter(file))

    def read(self, size: int = -1) -> bytes:
        wanted = self.len if size < 0 else min(size, self.len)
        self._exchange.check()  # nothing is written while the encoder gathers many small pieces
        with self._exchange.ours():
            chunk = self._read(wanted)
            self.len -= len(chunk)
            if (wanted and not chunk) or (self.len == 0 and self._read(1)):
                raise FileChanged(
                    call=Call.SUBMIT,
                    description=f"{self._size} bytes were announced, there are {'fewer' if self.len else 'more'}",
                )
        return chunk


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


def _boolean(value: bool) -> str:  # noqa: FBT001 - a conversion
    return "true" if value else "false"
