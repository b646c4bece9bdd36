"""Small files that would become huge, or take for ever, for whoever decodes them without looking first."""

import io
import struct
import zlib

from PIL import Image

from tests import pictures


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks: bytes, data: bytes | None = None) -> bytes:
    """A PNG with more chunks before its pixels."""
    data = pictures.png(1, size=(40, 30)) if data is None else data
    after_header = 8 + 25
    return data[:after_header] + b"".join(chunks) + data[after_header:]


def png_of_many_pixels(side: int = 13_000) -> bytes:
    """About 20 kB that say they are ``side`` by ``side`` pixels, and are: all of them black."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def png_of_many_frames() -> bytes:
    return png_with(png_chunk(b"acTL", struct.pack(">II", 4_000_000_000, 0)))


def png_with_long_text() -> bytes:
    text = zlib.compress(bytes(400_000_000), 9)
    return png_with(png_chunk(b"zTXt", b"Comment\0\0" + text))


def png_with_long_profile() -> bytes:
    return png_with(png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(400_000_000), 9)))


def jpeg_of_many_pixels() -> bytes:
    data = pictures.jpeg(1)
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", 65_000, 65_000) + data[frame + 9 :]


def jpeg_of_many_scans() -> bytes:
    """Each scan goes over the whole picture: 4000 times 4000 pixels, again and again."""
    target = io.BytesIO()
    Image.new("L", (4000, 4000)).save(target, "JPEG", progressive=True, quality=50)
    data = target.getvalue()
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:-2] + scan * 2000 + b"\xff\xd9"


def gif_of_many_frames(frames: int = 5000) -> bytes:
    """Frames of one pixel on a canvas of 4000 by 4000, which every one of them makes anew."""
    data = b"GIF89a" + struct.pack("<HHBBB", 4000, 4000, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return data + frame * frames + b"\x3b"


def gif_beyond_its_canvas() -> bytes:
    data = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    return data + b"\x2c" + struct.pack("<4HB", 60_000, 60_000, 5000, 5000, 0) + b"\x02\x02\x44\x01\x00" + b"\x3b"


def riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)


def webp_of(*chunks: bytes) -> bytes:
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _webp_canvas(width: int, height: int, flags: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff(b"VP8X", bytes([flags, 0, 0, 0]) + size)


def webp_of_many_frames(frames: int = 5000) -> bytes:
    picture = pictures.webp(1, size=(1, 1), lossless=True)[12:]
    frame = riff(b"ANMF", bytes(6) + bytes(6) + (100).to_bytes(3, "little") + b"\0" + picture)
    return webp_of(_webp_canvas(4000, 4000, 0x02), riff(b"ANIM", bytes(6)), frame * frames)


def webp_of_many_pixels() -> bytes:
    picture = pictures.webp(1, size=(1, 1), lossless=True)[12:]
    frame = riff(b"ANMF", bytes(12) + (100).to_bytes(3, "little") + b"\0" + picture)
    return webp_of(_webp_canvas(1 << 24, 1 << 24, 0x02), riff(b"ANIM", bytes(6)), frame * 2)


def mp4_of_endless_boxes() -> bytes:
    return pictures.box(b"ftyp", b"isom", bytes(4)) + pictures.box(b"moov", struct.pack(">I4s", 8, b"free") * 1_200_000)


def mp4_of_endless_samples() -> bytes:
    data = pictures.mp4(1)
    place = data.index(b"stsz") + 8
    return data[:place] + struct.pack(">II", 0, 0xFFFF_FFFF) + data[place + 8 :]


def webm_of_endless_elements() -> bytes:
    head = pictures.element(b"\x1a\x45\xdf\xa3", pictures.element(b"\x42\x82", b"webm"))
    return head + pictures.element(b"\x18\x53\x80\x67", b"\xec\x80" * 1_200_000)


# What is refused, and as what.
BOMBS = [
    ("png, 13,000 pixels square", "image/png", png_of_many_pixels, "too_many_pixels"),
    ("png, 4 billion frames", "image/png", png_of_many_frames, "too_many_frames"),
    ("png, 400 MB of text", "image/png", png_with_long_text, "damaged"),
    ("png, 400 MB of profile", "image/png", png_with_long_profile, "damaged"),
    ("jpeg, 65,000 pixels square", "image/jpeg", jpeg_of_many_pixels, "too_many_pixels"),
    ("jpeg, 2,000 scans", "image/jpeg", jpeg_of_many_scans, "too_complex"),
    ("gif, 5,000 frames", "image/gif", gif_of_many_frames, "too_many_frames"),
    ("gif, a frame far beyond its canvas", "image/gif", gif_beyond_its_canvas, "too_many_pixels"),
    ("webp, 5,000 frames", "image/webp", webp_of_many_frames, "too_many_frames"),
    ("webp, 16 million pixels square", "image/webp", webp_of_many_pixels, "too_many_pixels"),
    ("mp4, endless boxes", "video/mp4", mp4_of_endless_boxes, "too_complex"),
    ("mp4, 4 billion samples", "video/mp4", mp4_of_endless_samples, "too_complex"),
    ("webm, endless elements", "video/webm", webm_of_endless_elements, "too_complex"),
]
