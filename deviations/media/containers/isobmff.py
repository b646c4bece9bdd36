"""MP4 and QuickTime movies: ISO/IEC 14496-12; Apple's QuickTime File Format.

Nothing may move, since tables in the file hold offsets into it: what is taken out is overwritten with a `free` box of
the same size.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

# Boxes that hold names, places, serial numbers, XMP.
PERSONAL = {b"udta", b"meta", b"uuid"}
FREE = {b"free", b"skip", b"wide"}
# Tracks that are played: picture, sound, subtitles, time code. Others hold where the camera was, second by second.
PLAYED = {b"vide", b"soun", b"text", b"sbtl", b"subt", b"clcp", b"tmcd", b"hint"}
UNKNOWN_DURATION = {0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF}


@dataclass(frozen=True)
class Box:
    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class Track:
    box: Box
    handler: bytes
    width: int
    height: int


def boxes(data: Buffer, start: int, end: int) -> Iterator[Box]:
    """The boxes that fill this stretch, one after the other."""
    place = start
    for _ in range(MAX_PARTS):
        if place + 8 > end:  # QuickTime ends some lists with a zero of four bytes
            return
        size, kind = struct.unpack_from(">I4s", data, place)
        body = place + 8
        if size == 1:
            if place + 16 > end:
                raise damaged("a box is longer than what holds it")
            size, body = int.from_bytes(data[place + 8 : place + 16], "big"), place + 16
        elif size == 0:
            size = end - place
        if size < body - place or place + size > end:
            raise damaged("a box is longer than what holds it")
        yield Box(kind, place, body, place + size)
        place += size
    raise Refused("too_complex")


def _top(data: Buffer) -> list[Box]:
    return list(boxes(data, 0, len(data)))


def _inside(data: Buffer, box: Box, *path: bytes) -> Box | None:
    """The first box at the end of ``path``, each one within the one before."""
    for kind in path:
        found = next((inner for inner in boxes(data, box.body, box.end) if inner.kind == kind), None)
        if found is None:
            return None
        box = found
    return box


def _numbers(data: Buffer, box: Box, form: str, offset: int) -> tuple[int, ...]:
    if box.body + offset + struct.calcsize(form) > box.end:
        raise damaged("a box is too short")
    return struct.unpack_from(form, data, box.body + offset)


def _movie(data: Buffer) -> Box:
    movies = [box for box in _top(data) if box.kind == b"moov"]
    if len(movies) != 1:
        raise damaged("not exactly one movie")
    return movies[0]


def _duration(data: Buffer, movie: Box) -> float | None:
    header = _inside(data, movie, b"mvhd")
    if header is None:
        raise damaged("no movie header")
    long = _numbers(data, header, ">B", 0)[0] == 1
    scale, duration = _numbers(data, header, ">IQ" if long else ">II", 20 if long else 12)
    if duration in UNKNOWN_DURATION and (extended := _inside(data, movie, b"mvex", b"mehd")) is not None:
        long = _numbers(data, extended, ">B", 0)[0] == 1
        (duration,) = _numbers(data, extended, ">Q" if long else ">I", 4)
    return None if duration in UNKNOWN_DURATION or not scale else duration / scale


def _tracks(data: Buffer, movie: Box) -> Iterator[Track]:
    for box in boxes(data, movie.body, movie.end):
        if box.kind != b"trak":
            continue
        header, media = _inside(data, box, b"tkhd"), _inside(data, box, b"mdia", b"hdlr")
        if header is None or media is None:
            raise damaged("a track without a header")
        (handler,) = struct.unpack(">4s", data[media.body + 8 : media.body + 12].ljust(4, b"\0"))
        long = _numbers(data, header, ">B", 0)[0] == 1
        matrix = 52 if long else 40
        turned_a, turned_b = _numbers(data, header, ">II", matrix)
        width, height = _numbers(data, header, ">II", matrix + 36)
        width, height = width >> 16, height >> 16
        if not turned_a and turned_b:  # a quarter turn, as phones that were held upright write it
            width, height = height, width
        yield Track(box, handler, width, height)


def inspect(data: Buffer) -> Facts:
    movie = _movie(data)
    size: tuple[int, int] | None = None
    for track in _tracks(data, movie):
        for offset, _size in _sample_stretches(data, track) if track.handler in {b"vide", b"soun"} else ():
            if offset >= len(data):
                raise damaged("a track points beyond the end of the file")
        if track.handler == b"vide" and size is None:
            size = track.width, track.height
    if size is None or 0 in size:
        raise Refused("no_video")
    return Facts(width=size[0], height=size[1], duration_seconds=_duration(data, movie))


def _sample_stretches(data: Buffer, track: Track) -> Iterator[tuple[int, int]]:
    """Offset and size of each chunk of samples of a track; a track whose samples come in fragments has none here."""
    table = _inside(data, track.box, b"mdia", b"minf", b"stbl")
    if table is None:
        raise damaged("a track without a table of samples")
    found = {box.kind: box for box in boxes(data, table.body, table.end)}
    places = found.get(b"stco") or found.get(b"co64")
    sizes, runs = found.get(b"stsz"), found.get(b"stsc")
    if places is None or sizes is None or runs is None:
        raise damaged("a track without a table of samples")
    wide = places.kind == b"co64"
    offsets = _list(data, places, 4, "Q" if wide else "I")
    same_size, samples = _numbers(data, sizes, ">II", 4)
    each_size = [] if same_size else _list(data, sizes, 8, "I")
    starts = _list(data, runs, 4, "III")
    run = sample = 0
    for number, offset in enumerate(offsets, start=1):
        while (run + 1) * 3 < len(starts) and starts[(run + 1) * 3] <= number:
            run += 1
        count = min(starts[run * 3 + 1] if starts else 0, samples - sample)
        yield offset, same_size * count if same_size else sum(each_size[sample : sample + count])
        sample += count


def _list(data: Buffer, box: Box, offset: int, entry: str) -> tuple[int, ...]:
    """A table: how many entries there are, then the entries, all of their numbers in one row."""
    (count,) = _numbers(data, box, ">I", offset)
    if count > MAX_PARTS:
        raise Refused("too_complex")
    return _numbers(data, box, f">{count * len(entry)}{entry[0]}", offset + 4)


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: every track that is played, at its place, and when it was made."""
    place = 0
    for start, replacement in sorted(_overwritten(data)):
        if start < place:
            raise damaged("boxes that overlap")
        yield data[place:start]
        yield replacement
        place = start + len(replacement)
    yield data[place:]


def _overwritten(data: Buffer) -> Iterator[tuple[int, bytes]]:
    movie = _movie(data)
    tracks = {track.box.start: track for track in _tracks(data, movie)}
    for box in [*_top(data), *boxes(data, movie.body, movie.end)]:
        track = tracks.get(box.start)
        if box.kind in PERSONAL or (track is not None and track.handler not in PLAYED):
            yield box.start, _free(box)
        elif box.kind in FREE:
            yield box.body, bytes(box.end - box.body)
        if track is None:
            continue
        if track.handler not in PLAYED:
            yield from _emptied_samples(data, track)
            continue
        for inner in boxes(data, box.body, box.end):
            if inner.kind in PERSONAL:
                yield inner.start, _free(inner)


def _free(box: Box) -> bytes:
    size = box.end - box.start
    if size > 0xFFFF_FFFF:
        raise damaged("a box that is too large")
    return struct.pack(">I4s", size, b"free") + bytes(size - 8)


def _emptied_samples(data: Buffer, track: Track) -> Iterator[tuple[int, bytes]]:
    stores = [box for box in _top(data) if box.kind == b"mdat"]
    for offset, size in _sample_stretches(data, track):
        if not any(box.body <= offset and offset + size <= box.end for box in stores):
            raise damaged("a track points to where no samples are")
        yield offset, bytes(size)
