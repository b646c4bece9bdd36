"""The uploaded files and smaller copies of them, as the addresses in the answers name them."""

import asyncio
import re

from deviantart.sandbox import media, pages, works
from deviantart.sandbox.exchange import Response
from deviantart.sandbox.state import State

_PATH = re.compile(r"/f/(?P<id>[0-9A-Fa-f-]{36})/(?:(?P<size>\d{2,4})/)?[^/]+")


class Files:
    def __init__(self, state: State) -> None:
        self._state = state
        self._scaling = asyncio.Lock()

    async def show(self, path: str) -> Response | None:
        """A file, or a smaller copy of it; what is no picture has none and is sent as it is. None: no file's path."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        size = int(match["size"]) if match["size"] else None
        work = works.find_work(self._state, match["id"])
        if work is None or work["is_deleted"] or size not in {None, *works.THUMB_SIZES, works.PREVIEW_SIZE}:
            return pages.not_found()
        original = self._state.store.file(work["sha256"])
        # No content of strangers runs in the sandbox's origin.
        headers = {
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
        if size is not None and work["kind"] == "image":
            copy = self._state.store.thumbnail(work["sha256"], size)
            try:
                async with self._scaling:
                    if not copy.exists():
                        await asyncio.get_running_loop().run_in_executor(None, media.scale, original, copy, size)
            except (OSError, ValueError, SyntaxError):
                pass  # a picture that cannot be decoded is shown as it is
            else:
                content_type = "image/png" if media.is_png(copy) else "image/jpeg"
                return Response(content_type=content_type, headers=headers, file=copy)
        if work["kind"] == "other":
            headers["Content-Disposition"] = "attachment"
        return Response(content_type=work["content_type"], headers=headers, file=original)
