"""Files from outside are only ever opened in a child process that has limits and knows no secret."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import structlog

from deviations.media.errors import Refused
from deviations.media.limits import CHILD_WALL_SECONDS

logger = structlog.get_logger(__name__)

PROJECT = Path(__file__).resolve().parent.parent.parent
# Nothing of our own environment: it holds every secret that we have.
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
MOST_OF_ANSWER = 64 * 1024


class ChildDied(Exception):
    """It ended without an answer: killed for its memory, or by a bug. Trying again may help."""


def run(program: Literal["read", "make"], request: dict[str, Any]) -> dict[str, Any]:
    """Let a child do one request on one file; blocks until it has answered or is dead.

    Raises Refused when the file is the reason, and ChildDied.
    """
    # Into files, whose size the child's limits bound: a pipe would fill our memory instead.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
        try:
            process = subprocess.run(
                [sys.executable, "-m", f"deviations.media.{program}"],
                input=json.dumps(request).encode(),
                stdout=answer,
                stderr=complaint,
                cwd=PROJECT,
                env=ENVIRONMENT,
                timeout=CHILD_WALL_SECONDS,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused("too_complex") from None
        if process.returncode == -signal.SIGXCPU:
            raise Refused("too_complex")
        if process.returncode:
            complaint.seek(max(0, complaint.tell() - 2000))
            words = complaint.read().decode(errors="replace")
            logger.warning("media_child_died", program=program, exit_code=process.returncode, complaint=words)
            raise ChildDied(f"exit code {process.returncode}")
        answer.seek(0)
        return _understood(answer.read(MOST_OF_ANSWER))


def _understood(answer: bytes) -> dict[str, Any]:
    try:
        outcome = json.loads(answer)
        if "refused" in outcome:
            raise Refused(str(outcome["refused"]["code"]), **outcome["refused"]["params"])
        done: dict[str, Any] = {**outcome["done"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ChildDied("an answer that nobody understands") from error
    return done
