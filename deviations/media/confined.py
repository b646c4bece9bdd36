"""The inside of the child: limits first, then one request from standard input, one answer to standard output."""

import json
import mmap
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deviations.media.containers import Buffer
from deviations.media.errors import Refused, damaged
from deviations.media.limits import CHILD_ADDRESS_SPACE_BYTES, CHILD_CPU_SECONDS, CHILD_FILE_BYTES
from deviations.media.pictures import be_strict

Request = dict[str, Any]


def confine() -> None:
    """Give up what a decoder does not need; a limit that is lower already stays."""
    limits = {
        resource.RLIMIT_AS: (CHILD_ADDRESS_SPACE_BYTES, CHILD_ADDRESS_SPACE_BYTES),
        resource.RLIMIT_CPU: (CHILD_CPU_SECONDS, CHILD_CPU_SECONDS + 5),
        resource.RLIMIT_FSIZE: (CHILD_FILE_BYTES, CHILD_FILE_BYTES),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, (soft, hard) in limits.items():
        _soft, most = resource.getrlimit(kind)
        if most == resource.RLIM_INFINITY:
            most = hard
        resource.setrlimit(kind, (min(soft, most), min(hard, most)))


def content_of(path: Path) -> Buffer:
    """The bytes of a file, without reading those that nobody looks at."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise damaged("an empty file")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def answer_one_request(work: Callable[[Request], dict[str, Any]]) -> None:
    """Answer ``{"done": …}``, or ``{"refused": {code, params}}``; anything else ends this process with a traceback."""
    confine()
    be_strict()
    try:
        answer: dict[str, Any] = {"done": work(json.load(sys.stdin))}
    except Refused as refused:
        answer = {"refused": {"code": refused.code, "params": refused.params}}
    except MemoryError:
        answer = {"refused": {"code": "too_complex", "params": {}}}
    json.dump(answer, sys.stdout)
