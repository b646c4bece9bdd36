"""A title from the name of a file."""

import re
from pathlib import PurePath

LONGEST = 200


def title_from(filename: str) -> str:
    """`moth_queen-v9.png` becomes `Moth queen v9`; the artist gives it its real name later, or keeps this one."""
    stem = PurePath(filename.replace("\\", "/")).stem
    words = re.sub(r"[\s_\-]+", " ", stem).strip()[:LONGEST]
    return words[:1].upper() + words[1:]
