"""What all calls of one artist have in common: whose they are, how they are sent, and how lists go on."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from deviantart import types
from deviantart.calling import Caller, bounds_for
from deviantart.config import Config
from deviantart.errors import Call
from deviantart.transport import Exchange
from deviantart.types import Deviation, Page

T = TypeVar("T")
Fields = list[tuple[str, str]]
Reader = Callable[[Mapping[str, Any], datetime | None], T]


class Calls:
    """The ground that the groups of calls stand on. Raises ValueError for what cannot be an access token."""

    def __init__(self, config: Config, access_token: str, *, correlation_id: str | None = None) -> None:
        # Anything else would break the header, and the complaint of the library below would show the token.
        if not re.fullmatch(r"[\x21-\x7e]+", access_token):
            raise ValueError("An access token is one word of ASCII characters.")
        self._config = config
        self._caller = Caller(config, access_token, secrets=(access_token,), correlation_id=correlation_id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._config.base_url}>"

    def _get(self, path: str, *, read: Reader[T], params: Sequence[tuple[str, str]] = (), call: Call = Call.READ) -> T:
        return self._caller.call(call, "GET", f"{self._config.api_url}/{path}", read=read, params=params)

    def _post(
        self,
        call: Call,
        path: str,
        *,
        read: Reader[T],
        data: Any,
        content_type: str | None = None,
        exchange: Exchange | None = None,
    ) -> T:
        url = f"{self._config.api_url}/{path}"
        return self._caller.call(call, "POST", url, read=read, data=data, content_type=content_type, exchange=exchange)

    def _exchange(self, call: Call, before_send: Callable[[], None] | None = None) -> Exchange:
        return Exchange(bounds_for(call, self._config.timeouts), before_send)

    def _page(
        self,
        path: str,
        read: Callable[[Mapping[str, Any]], T],
        *,
        params: Fields,
        offset: int,
        cursor: str | None,
        limit: int | None = None,
        most: int | None = None,
        call: Call = Call.READ,
    ) -> Page[T]:
        """One page of a list: at a cursor if there is one, else at an offset."""
        place = [("offset", str(offset))] if cursor is None else [("cursor", cursor)]
        if limit is not None:
            if most is not None and not 0 < limit <= most:
                raise ValueError(f"A page of {path} has 1 to {most} entries, not {limit}.")
            place.append(("limit", str(limit)))
        return self._get(
            path, params=params + place, read=lambda payload, date: types.page(payload, read, date), call=call
        )

    def _deviations(
        self,
        path: str,
        *,
        params: Fields | None = None,
        offset: int,
        cursor: str | None,
        limit: int,
        most: int,
        mature_content: bool,
    ) -> Page[Deviation]:
        wanted = [*(params or []), ("mature_content", boolean(mature_content))]
        return self._page(path, types.deviation, params=wanted, offset=offset, cursor=cursor, limit=limit, most=most)


def pages(fetch: Callable[..., Page[T]], **options: Any) -> Iterator[Page[T]]:
    """All pages of a list, each fetched when it is asked for: ``pages(client.browse_home, limit=50)``.

    Where a page says that it goes on at a cursor, that is followed, else the offset.
    """
    seen: set[str] = set()
    offset = options.get("offset", 0)
    page = fetch(**options)
    yield page
    while page.has_more:
        if page.next_cursor is not None:
            if page.next_cursor in seen:
                return  # it would go round for ever
            seen.add(page.next_cursor)
            page = fetch(**{**options, "cursor": page.next_cursor})
        else:
            if page.next_offset is None or page.next_offset <= offset:
                return  # likewise
            offset = page.next_offset
            page = fetch(**{**options, "offset": offset})
        yield page


def entries(of: Iterator[Page[T]]) -> Iterator[T]:
    """What is on the pages, one after the other: ``entries(pages(client.gallery_all))``."""
    for page in of:
        yield from page.results


def boolean(value: bool) -> str:  # noqa: FBT001 - a conversion
    return "true" if value else "false"


def segment(text: str) -> str:
    """A piece of a path as it is sent. Raises ValueError for what would lead to another path."""
    if text.strip(".") == "":
        raise ValueError(f"{text!r} names nothing.")
    return quote(text, safe="")
