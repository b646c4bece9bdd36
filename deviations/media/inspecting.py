"""What a file is and how large it would become, found out before anything of it is decoded."""

from deviations.media.containers import Buffer, Container, Facts, gif, isobmff, jpeg, matroska, png, webp
from deviations.media.errors import Refused
from deviations.media.kinds import GIF, HEAD_BYTES, JPEG, MP4, PNG, QUICKTIME, WEBM, WEBP, sniff
from deviations.media.limits import MAX_FRAMES, MAX_PIXELS, MAX_PIXELS_OF_ALL_FRAMES, MAX_SIDE

CONTAINERS: dict[str, Container] = {
    JPEG: jpeg,
    PNG: png,
    GIF: gif,
    WEBP: webp,
    MP4: isobmff,
    QUICKTIME: isobmff,
    WEBM: matroska,
}


def inspect(data: Buffer, *, max_pixels: int = MAX_PIXELS) -> tuple[str, Facts]:
    """The content type that the bytes show, and what the file says of itself, within our limits. Raises Refused."""
    content_type = sniff(data[:HEAD_BYTES])
    if content_type is None:
        raise Refused("unknown_type")
    facts = CONTAINERS[content_type].inspect(data)
    pixels = facts.width * facts.height
    if pixels > max_pixels or max(facts.width, facts.height) > MAX_SIDE:
        raise Refused("too_many_pixels", width=facts.width, height=facts.height, most=max_pixels)
    if facts.frames > MAX_FRAMES or pixels * facts.frames > MAX_PIXELS_OF_ALL_FRAMES:
        raise Refused("too_many_frames", frames=facts.frames, most=MAX_FRAMES)
    return content_type, facts
