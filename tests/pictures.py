"""Small real pictures and videos, drawn by code: the same seed gives the same bytes, another seed another picture."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

SRGB_PROFILE: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def draw(seed: int = 0, *, size: tuple[int, int] = (320, 240), mode: str = "RGB") -> Image.Image:
    """Coloured shapes on a slope of colour: alike enough to a picture that scaling and JPEG treat it as one."""
    dice = random.Random(seed)
    width, height = size
    slope = Image.linear_gradient("L").rotate(dice.randrange(0, 360)).resize(size)
    one, other = (tuple(dice.randrange(256) for _ in range(3)) for _ in range(2))
    image = Image.composite(Image.new("RGB", size, one), Image.new("RGB", size, other), slope)
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = dice.randrange(width), dice.randrange(height)
        w, h = (dice.randrange(side // 8, max(side // 2, side // 8 + 1)) for side in size)
        colour = tuple(dice.randrange(256) for _ in range(3))
        shape = dice.choice([pen.ellipse, pen.rectangle])
        shape((x - w // 2, y - h // 2, x + w // 2, y + h // 2), fill=colour)
    return image.convert(mode)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def jpeg(seed: int = 0, *, size: tuple[int, int] = (320, 240), mode: str = "RGB", **options: Any) -> bytes:
    """``options`` are Pillow's: quality, exif, icc_profile, comment, xmp, progressive …"""
    return _saved(draw(seed, size=size, mode=mode), "JPEG", **{"quality": 90, **options})


def png(
    seed: int = 0,
    *,
    size: tuple[int, int] = (320, 240),
    mode: str = "RGB",
    texts: dict[str, str] | None = None,
    **options: Any,
) -> bytes:
    """``texts`` become text chunks, as ComfyUI writes its `prompt` and `workflow`."""
    info = PngImagePlugin.PngInfo()
    for key, value in (texts or {}).items():
        info.add_text(key, value)
    return _saved(draw(seed, size=size, mode=mode), "PNG", pnginfo=info, **options)


def gif(seed: int = 0, *, size: tuple[int, int] = (160, 120), frames: int = 1, **options: Any) -> bytes:
    first, *others = [draw(seed * 1000 + number, size=size) for number in range(frames)]
    if others:
        options = {"save_all": True, "append_images": others, "duration": 100, "loop": 0, **options}
    return _saved(first, "GIF", **options)


def webp(
    seed: int = 0, *, size: tuple[int, int] = (320, 240), mode: str = "RGB", frames: int = 1, **options: Any
) -> bytes:
    first, *others = [draw(seed * 1000 + number, size=size, mode=mode) for number in range(frames)]
    if others:
        options = {"save_all": True, "append_images": others, "duration": 100, **options}
    return _saved(first, "WEBP", **{"quality": 80, **options})


# --- videos: as few boxes and elements as a player needs to know its size and its length -----------------------------
def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ISO/IEC 14496-12: size, type, content."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _track(
    number: int, handler: bytes, *, width: int, height: int, duration: int, sample_sizes: list[int], offset: int
) -> bytes:
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
    tkhd = struct.pack(">IIIIII8xhhhxx", 7, 0, 0, number, 0, duration, 0, 0, 0) + matrix
    tkhd += struct.pack(">II", width << 16, height << 16)
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 0)),
        box(b"stts", struct.pack(">IIII", 0, 1, len(sample_sizes), 1000)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, len(sample_sizes), 1)),
        box(b"stsz", struct.pack(f">III{len(sample_sizes)}I", 0, 0, len(sample_sizes), *sample_sizes)),
        box(b"stco", struct.pack(">III", 0, 1, offset)),
    )
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, duration, 0x55C4, 0)),
        box(b"hdlr", struct.pack(">II4s12x", 0, 0, handler) + b"\0"),
        box(b"minf", table),
    )
    return box(b"trak", box(b"tkhd", tkhd), media)


def mp4(
    seed: int = 0,
    *,
    size: tuple[int, int] = (320, 240),
    seconds: float = 2.0,
    brand: bytes = b"isom",
    extra_moov: bytes = b"",
    location_track: bytes = b"",
) -> bytes:
    """A video of random bytes; ``extra_moov`` goes into `moov`, ``location_track`` becomes a track of metadata."""
    frames = random.Random(seed).randbytes(2000)
    ftyp = box(b"ftyp", brand, struct.pack(">I", 512), brand)
    start = len(ftyp) + 8
    duration = round(seconds * 1000)
    mvhd = struct.pack(">IIIIIIH10x", 0, 0, 0, 1000, duration, 0x10000, 0x100)
    mvhd += struct.pack(">9I24xI", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000, 3)
    width, height = size
    tracks = _track(1, b"vide", width=width, height=height, duration=duration, sample_sizes=[1500, 500], offset=start)
    if location_track:
        place = start + len(frames)
        sizes = [len(location_track)]
        tracks += _track(2, b"meta", width=0, height=0, duration=duration, sample_sizes=sizes, offset=place)
    moov = box(b"moov", box(b"mvhd", mvhd), tracks, extra_moov)
    return ftyp + box(b"mdat", frames, location_track) + moov


def mov(seed: int = 0, **options: Any) -> bytes:
    return mp4(seed, brand=b"qt  ", **options)


def element(identifier: bytes, *parts: bytes) -> bytes:
    """An EBML element (RFC 8794) with a size field of eight bytes."""
    content = b"".join(parts)
    return identifier + (1 << 56 | len(content)).to_bytes(8, "big") + content


def webm(
    seed: int = 0,
    *,
    size: tuple[int, int] = (320, 240),
    seconds: float = 2.0,
    title: str = "",
    tags: bytes = b"",
    checksums: bool = False,
    doctype: bytes = b"webm",
) -> bytes:
    """A video of random bytes; ``tags`` is what a `Tags` element holds, no element when empty.

    ``checksums``: with a seek head that names the tags, and CRC-32 elements, as FFmpeg writes them.
    """
    width, height = size
    video = element(b"\xe0", element(b"\xb0", width.to_bytes(2, "big")), element(b"\xba", height.to_bytes(2, "big")))
    track = element(
        b"\xae",
        element(b"\xd7", b"\x01"),
        element(b"\x73\xc5", b"\x01"),
        element(b"\x83", b"\x01"),
        element(b"\x86", b"V_VP8"),
        video,
    )

    def checked(*parts: bytes) -> bytes:
        content = b"".join(parts)
        return element(b"\xbf", zlib.crc32(content).to_bytes(4, "little")) + content if checksums else content

    seek = element(b"\x4d\xbb", element(b"\x53\xab", b"\x12\x54\xc3\x67"), element(b"\x53\xac", b"\x01"))
    info_content = checked(
        element(b"\x2a\xd7\xb1", (1_000_000).to_bytes(3, "big")),
        element(b"\x44\x89", struct.pack(">d", seconds * 1000)),
        element(b"\x7b\xa9", title.encode()) if title else b"",
        element(b"\x4d\x80", b"isekai"),
        element(b"\x57\x41", b"isekai"),
    )
    info = element(b"\x15\x49\xa9\x66", info_content)
    frame = random.Random(seed).randbytes(1000)
    cluster = element(b"\x1f\x43\xb6\x75", element(b"\xe7", b"\x00"), element(b"\xa3", b"\x81\x00\x00\x80", frame))
    return element(
        b"\x1a\x45\xdf\xa3",
        element(b"\x42\x86", b"\x01"),
        element(b"\x42\x82", doctype),
        element(b"\x42\x87", b"\x02"),
        element(b"\x42\x85", b"\x02"),
    ) + element(
        b"\x18\x53\x80\x67",
        element(b"\x11\x4d\x9b\x74", checked(seek)) if checksums else b"",
        info,
        element(b"\x16\x54\xae\x6b", track),
        element(b"\x12\x54\xc3\x67", tags) if tags else b"",
        cluster,
    )


# Every kind that may be uploaded: content type, extension, and what makes one from a seed.
KINDS: list[tuple[str, str, Callable[..., bytes]]] = [
    ("image/jpeg", "jpg", jpeg),
    ("image/png", "png", png),
    ("image/gif", "gif", gif),
    ("image/webp", "webp", webp),
    ("video/mp4", "mp4", mp4),
    ("video/quicktime", "mov", mov),
    ("video/webm", "webm", webm),
]
