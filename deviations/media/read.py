"""`python -m deviations.media.read`: what is this file, and is all of it there?

Request: ``{path, content_type}``, where the type is the announced one. Answer: ``{content_type, width, height,
duration_seconds}``, sizes as the picture is shown.
"""

from pathlib import Path
from typing import Any

from deviations.media.confined import Request, answer_one_request, content_of
from deviations.media.errors import Refused
from deviations.media.inspecting import inspect
from deviations.media.kinds import KINDS
from deviations.media.pictures import decode_all


def read(request: Request) -> dict[str, Any]:
    path = Path(request["path"])
    content_type, facts = inspect(content_of(path))
    if content_type != request["content_type"]:
        raise Refused("type_differs", announced=request["content_type"], found=content_type)
    if not KINDS[content_type].is_video:
        with path.open("rb") as file:
            decode_all(file, content_type, facts)
    width, height = facts.shown_size
    return {
        "content_type": content_type,
        "width": width,
        "height": height,
        "duration_seconds": facts.duration_seconds,
    }


if __name__ == "__main__":
    answer_one_request(read)
