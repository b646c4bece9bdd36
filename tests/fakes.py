"""DeviantArt as one object with the client's own interface, for tests that are not about the wire."""

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from deviantart.errors import AlreadyPublished, DeviantArtError, FileChanged
from deviantart.types import Deviation, Metadata, Page, Picture, PublishReceipt, SubmitReceipt
from deviantart.uploads import Readable
from isekai import clock


class FakeDeviantArt:
    """Keeps items and deviations; ``answers`` are taken one by one for the coming calls to submit and publish.

    An answer is an exception to raise before anything happened, or (exception, "after") to raise once it happened.
    """

    def __init__(self) -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.deviations: list[Deviation] = []
        # Which deviation was made of which item.
        self.made: dict[int, str] = {}
        self.calls: list[str] = []
        self.submit_answers: deque[Any] = deque()
        self.publish_answers: deque[Any] = deque()
        self.placebo_answers: deque[Any] = deque()
        self.application = "Isekai"
        self.gallery_is_behind = False
        self.pictures: dict[str, bytes] = {}
        self.before_publish: Callable[[], None] | None = None
        # Its clock; `clock.database_now` for tests that move that one.
        self.now: Callable[[], datetime] = clock.now
        self._ids = itertools.count(1)

    def submit(
        self,
        file: Readable,
        *,
        size: int,
        sha256: str,
        before_send: Callable[[], None] | None = None,
        **fields: Any,
    ) -> Any:
        self.calls.append("submit")
        if before_send:
            before_send()
        body = b"".join(iter(lambda: file.read(100_000), b""))
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            raise FileChanged
        return self._answer(self.submit_answers, lambda: self._keep(body, fields))

    def publish(self, item_id: int, *, before_send: Callable[[], None] | None = None, **fields: Any) -> Any:
        self.calls.append("publish")
        if before_send:
            before_send()
        if self.before_publish:
            self.before_publish()
        return self._answer(self.publish_answers, lambda: self._publish(item_id, fields))

    def placebo(self) -> None:
        self.calls.append("placebo")
        self._answer(self.placebo_answers, lambda: None)

    def gallery_pages(self, **_options: Any) -> Iterator[Page[Deviation]]:
        self.calls.append("gallery")
        shown = [] if self.gallery_is_behind else self.deviations
        yield Page(tuple(reversed(shown)), None, self.now())

    def deviation_metadata(self, ids: Sequence[str], *, ext_submission: bool = False) -> tuple[Metadata, ...]:
        return tuple(Metadata(each, submitted_with=self.application if ext_submission else None) for each in ids)

    def picture(self, url: str, max_bytes: int) -> bytes:
        return self.pictures[url][:max_bytes]

    def show(self, title: str, *, picture: bytes = b"", at: datetime | None = None) -> Deviation:
        """A deviation in the gallery that no call of this fake made."""
        number = next(self._ids)
        url = f"https://www.deviantart.com/x/art/{number}"
        self.pictures[url + "/picture"] = picture
        deviation = Deviation(
            f"DEVIATION-{number}", title, url, at or self.now(), preview=Picture(url + "/picture", 10, 10)
        )
        self.deviations.append(deviation)
        return deviation

    def _keep(self, body: bytes, fields: dict[str, Any]) -> SubmitReceipt:
        item_id = 5_000_000_000_000_000 + next(self._ids)
        self.items[item_id] = {**fields, "body": body, "published": False}
        return SubmitReceipt(item_id, date=self.now())

    def _publish(self, item_id: int, fields: dict[str, Any]) -> PublishReceipt:
        item = self.items[item_id]
        if item["published"]:
            raise AlreadyPublished(error_code=9, http_status=400)
        item["published"] = True
        item["fields"] = fields
        deviation = self.show(item["title"], picture=item["body"])
        self.made[item_id] = deviation.deviation_id
        return PublishReceipt(deviation.deviation_id, deviation.url, self.now())

    def _answer(self, answers: deque[Any], do: Callable[[], Any]) -> Any:
        answer = answers.popleft() if answers else None
        if isinstance(answer, DeviantArtError):
            raise answer
        receipt = do()
        if isinstance(answer, tuple):
            raise answer[0]
        return receipt
