"""Lists in pages by offset, as most of the reads have them."""

from collections.abc import Iterable
from typing import Any

from deviantart.sandbox import works
from deviantart.sandbox.call import Call

_DEFAULT_LIMIT = 10
_MAX_OFFSET = 50_000


def page(call: Call, maximum: int) -> tuple[int, int]:
    """Offset and limit. Raises ApiError when one of them is not accepted."""
    offset = call.params.integer("offset", 0, maximum=_MAX_OFFSET)
    limit = call.params.integer("limit", min(_DEFAULT_LIMIT, maximum), minimum=1, maximum=maximum)
    call.params.check()
    return offset or 0, limit or _DEFAULT_LIMIT


def paged(results: list[dict[str, Any]], *, has_more: bool, next_offset: int) -> dict[str, Any]:
    return {"results": results, "has_more": has_more, "next_offset": next_offset if has_more else None}


def deviations(
    call: Call,
    where: str,
    values: Iterable[Any],
    *,
    maximum: int,
    order: str = "d.published_at DESC, d.rowid DESC",
    joined: str = "",
) -> dict[str, Any]:
    """A page of works. Mature ones are left out after the page was cut, so a page may be short and not the last."""
    offset, limit = page(call, maximum)
    mature = call.params.boolean("mature_content", default=False)
    call.params.check()
    rows = works.listed(call.state, where, values, offset=offset, limit=limit + 1, order=order, joined=joined)
    shown = [row for row in rows[:limit] if mature or not row["is_mature"]]
    return paged(
        [works.deviation(call.state, row) for row in shown], has_more=len(rows) > limit, next_offset=offset + limit
    )
