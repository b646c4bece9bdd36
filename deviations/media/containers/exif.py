"""The one thing in EXIF that a picture needs to be shown right: its orientation. TIFF 6.0, section 2; EXIF 3.0, 4.6."""

import struct

ORIENTATION = 0x0112
SHORT = 3
MAX_ENTRIES = 1000


def orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) that a TIFF structure names first; 1 for one that names none or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        magic, place = struct.unpack_from(f"{order}HI", tiff, 2)
        (count,) = struct.unpack_from(f"{order}H", tiff, place)
        for number in range(min(count, MAX_ENTRIES)):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", tiff, place + 2 + 12 * number)
            if tag == ORIENTATION:
                fits = magic == 42 and kind == SHORT and values == 1 and 1 <= value <= 8
                return value if fits else 1
    except struct.error:
        pass
    return 1


def only_orientation(value: int) -> bytes:
    """A TIFF structure that says this and nothing else."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, ORIENTATION, SHORT, 1, value, 0, 0)
