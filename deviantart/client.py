"""DeviantArt's API for one artist: upload, publish, arrange, and read back (deviantart-api.md, sections 6 to 10)."""

import re
from urllib.parse import urlsplit

from deviantart.browsing import Browsing, People
from deviantart.calls import entries, pages
from deviantart.errors import Call, PictureRefused, classify
from deviantart.galleries import Galleries
from deviantart.publishing import License, Publishing
from deviantart.transport import NoAnswer, perform
from deviantart.uploads import Readable, Resumable

__all__ = ["Client", "License", "Readable", "Resumable", "entries", "pages"]


class Client(Publishing, Galleries, Browsing, People):
    """Calls of one artist. It holds no connection and no state: any number of threads may share it.

    Every method raises DeviantArtError and ends within the bounds of ``config.timeouts``; none tries again. A method
    that returns a Page gives one page; ``pages(client.browse_home)`` goes through all of them.
    """

    def picture(self, url: str, max_bytes: int) -> bytes:
        """The bytes of a thumbnail or preview, from DeviantArt's own picture hosts only, without the token.

        Raises PictureRefused for any other address, for what is no picture, and for more than ``max_bytes``.
        """
        if not self._may_fetch(url):
            raise PictureRefused(call=Call.READ, description="not a picture of DeviantArt")
        exchange = self._exchange(Call.READ)
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
