"""Named points at which a test may kill or stop this very process; in production each is one comparison.

A test puts a file of the point's name into FAULTS_DIRECTORY; whichever process comes by first takes the file away and
does what it says: `kill` (SIGKILL) or `stop` (SIGSTOP).
"""

import os
import signal
from pathlib import Path

from django.conf import settings

# All of them. A point that is not listed cannot be reached, a listed one that no code reaches fails its test.
POINTS = (
    "before_claim",
    "after_claim",
    "before_submit_intent",
    "submit_intended",
    "before_submit_sent",
    "file_read",
    "submit_answered",
    "item_committed",
    "before_publish_intent",
    "publish_intended",
    "before_publish_sent",
    "publish_answered",
    "publish_committed",
    "finished",
    "look_up_intended",
    "look_up_answered",
    "rescued",
    "between_files",
    "alone",
    "stage_claimed",
    "stage_submitted",
    "stage_ended",
    "before_rescue",
    "token_refresh_answered",
)


def reach(point: str) -> None:
    """Say that the code has come to ``point``."""
    if settings.FAULTS_DIRECTORY is None:
        return
    if point not in POINTS:
        raise ValueError(f"{point} is not in the list of fault points.")
    order = Path(settings.FAULTS_DIRECTORY) / point
    taken = order.with_suffix(f".{os.getpid()}")
    try:
        order.rename(taken)  # only one process can
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if taken.read_text().strip() == "stop" else signal.SIGKILL)
