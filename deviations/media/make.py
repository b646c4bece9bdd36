"""`python -m deviations.media.make`: the copies of an original.

Request: ``{path, folder, keep_metadata, pictures: {name: longest side}}``. Answer: ``{published, pictures: {name:
{width, height}}, perceptual_hash, exif}``; the pictures and the copy to be published are files of these names in the
folder. ``published`` is false when that copy would be the original, byte for byte; videos have neither pictures, nor a
hash, nor anything to tell.
"""

from pathlib import Path
from typing import Any

from deviations.media.confined import Request, answer_one_request, content_of
from deviations.media.containers import Facts
from deviations.media.errors import damaged
from deviations.media.inspecting import CONTAINERS, inspect
from deviations.media.kinds import KINDS
from deviations.media.perceptual import FIRST_SIDE, hash_of
from deviations.media.pictures import opened, shrunk
from deviations.media.telling import told_by

WEBP_OPTIONS = {"quality": 82, "method": 4}


def make(request: Request) -> dict[str, Any]:
    original, folder = Path(request["path"]), Path(request["folder"])
    content_type, facts = inspect(content_of(original))
    stripped = None if request["keep_metadata"] else strip(original, content_type, folder / "published")
    if stripped is not None and inspect(content_of(stripped)) != (content_type, facts):
        raise damaged("it is another file without its metadata")
    answer: dict[str, Any] = {"published": stripped is not None, "pictures": {}, "perceptual_hash": "", "exif": {}}
    if not KINDS[content_type].is_video:
        # Drawn from what is published, which proves that it can be decoded.
        answer |= draw(stripped or original, content_type, facts, request["pictures"], folder)
        answer["exif"] = told_by(original, content_type)
    return answer


def strip(original: Path, content_type: str, copy: Path) -> Path | None:
    """Write the file without its metadata; None when nothing was to be taken out."""
    data = content_of(original)
    with copy.open("wb") as target:
        for piece in CONTAINERS[content_type].stripped(data):
            target.write(piece)
    return None if copy.stat().st_size == len(data) and content_of(copy)[:] == data[:] else copy


def draw(path: Path, content_type: str, facts: Facts, wanted: dict[str, int], folder: Path) -> dict[str, Any]:
    """Smaller pictures as WebP, upright, from the largest to the smallest, and the hash of the picture."""
    made: dict[str, Any] = {}
    with path.open("rb") as file, opened(file, content_type) as image:
        smaller = shrunk(image, max([FIRST_SIDE, *wanted.values()]), facts.orientation)
    for name, longest in sorted(wanted.items(), key=lambda item: -item[1]):
        smaller = shrunk(smaller, longest, 1)
        smaller.save(folder / name, "WEBP", icc_profile=smaller.info.get("icc_profile"), **WEBP_OPTIONS)
        made[name] = {"width": smaller.width, "height": smaller.height}
    return {"pictures": made, "perceptual_hash": hash_of(shrunk(smaller, FIRST_SIDE, 1))}


if __name__ == "__main__":
    answer_one_request(make)
