"""Bringing works out, and changing those that are (deviantart-api.md, sections 6, 7 and 9)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from requests_toolbelt import MultipartEncoder

from deviantart import types
from deviantart.calls import Calls, Fields, boolean, segment
from deviantart.errors import Call
from deviantart.types import PublishReceipt, SubmitReceipt
from deviantart.uploads import FilePart, Readable


@dataclass(frozen=True, slots=True)
class License:
    """A Creative Commons licence; without one all rights stay with the artist."""

    commercial: bool = False
    modify: Literal["yes", "no", "share"] = "no"

    @property
    def fields(self) -> Fields:
        return [
            ("license_options[creative_commons]", "true"),
            ("license_options[commercial]", "yes" if self.commercial else "no"),
            ("license_options[modify]", self.modify),
        ]


class Publishing(Calls):
    """The calls that make something public, or get it ready for that.

    ``before_send`` runs when the connection stands and not one byte has been written; what it raises ends the call with
    nothing sent.
    """

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
        sha256: str | None = None,
        before_send: Callable[[], None] | None = None,
    ) -> SubmitReceipt:
        """Upload a file to the artist's stash, streaming it: ``file`` yields exactly ``size`` bytes.

        With ``itemid`` it overwrites that item, and if it is published already the live work (section 6). Raises
        FileChanged when there are fewer or more bytes, or others than ``sha256`` (hex) promises, and what reading
        ``file`` raises: either way the request was broken off before its end. ``uploads.Resumable`` makes a file of
        storage survive a break. One read of ``file`` that hangs is beyond our bounds and needs its own.
        """
        exchange = self._exchange(Call.SUBMIT, before_send)
        fields: list[tuple[str, Any]] = [
            ("title", title),
            ("artist_comments", artist_comments),
            *(("tags[]", tag) for tag in tags),
            ("is_ai_generated", boolean(is_ai_generated)),
            ("noai", boolean(noai)),
        ]
        if itemid is not None:
            fields.append(("itemid", str(itemid)))
        elif stack is not None:
            fields.append(("stack", stack))
        # Last, so that everything else is known before the long part. Without a file name DeviantArt answers 500.
        fields.append(("file", (filename, FilePart(file, size, exchange, sha256), content_type)))
        body = MultipartEncoder(fields)
        return self._post(
            Call.SUBMIT,
            "stash/submit",
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
        license: License | None = None,  # noqa: A002 - DeviantArt's word
        before_send: Callable[[], None] | None = None,
    ) -> PublishReceipt:
        """Make an item of the stash a public deviation.

        Raises AlreadyPublished when it was one before. After an error whose ``outcome`` is *unknown* it may be live.
        """
        data = [
            ("itemid", str(item_id)),
            ("is_mature", boolean(is_mature)),
            ("feature", boolean(feature)),
            ("allow_comments", boolean(allow_comments)),
            # Always sent: left out, it has been taken as yes.
            ("allow_free_download", boolean(allow_free_download)),
            ("is_ai_generated", boolean(is_ai_generated)),
            ("noai", boolean(noai)),
            *_mature(is_mature, mature_level, mature_classification),
        ]
        if display_resolution:
            # The watermark is allowed only together with a resolution that is not the original's.
            data += [("display_resolution", str(display_resolution)), ("add_watermark", boolean(add_watermark))]
        data += [("galleryids[]", each) for each in gallery_ids]
        data += [("tags[]", each) for each in tags]
        data += license.fields if license else []
        return self._post(
            Call.PUBLISH,
            "stash/publish",
            read=types.publish_receipt,
            data=data,
            exchange=self._exchange(Call.PUBLISH, before_send),
        )

    def edit(
        self,
        deviation_id: str,
        *,
        title: str,
        is_mature: bool,
        mature_level: str | None,
        mature_classification: Sequence[str],
        allow_comments: bool,
        allow_free_download: bool,
        add_watermark: bool,
        gallery_ids: Sequence[str],
        tags: Sequence[str],
        license: License | None,  # noqa: A002 - DeviantArt's word
        before_send: Callable[[], None] | None = None,
    ) -> PublishReceipt:
        """Change a work that is live. All of it is said anew, since DeviantArt clears whatever is left out (section 9).

        Its text and its file can only be changed by overwriting its item. Raises NotFound and NotOwned.
        """
        data = [
            ("title", title),
            ("is_mature", boolean(is_mature)),
            *_mature(is_mature, mature_level, mature_classification),
            ("allow_comments", boolean(allow_comments)),
            ("allow_free_download", boolean(allow_free_download)),
            ("add_watermark", boolean(add_watermark)),
            *(("galleryids[]", each) for each in gallery_ids),
            *(("tags[]", each) for each in tags),
            *(license.fields if license else []),
        ]
        return self._post(
            Call.EDIT,
            f"deviation/edit/{segment(deviation_id)}",
            read=types.publish_receipt,
            data=data,
            exchange=self._exchange(Call.EDIT, before_send),
        )


def _mature(is_mature: bool, level: str | None, classification: Sequence[str]) -> Fields:  # noqa: FBT001 - three values of one thing
    if not is_mature:
        return []
    return [
        *([("mature_level", level)] if level else []),
        *(("mature_classification[]", each) for each in classification),
    ]
