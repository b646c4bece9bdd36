"""Writes that must not be given up while this process lives."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection

logger = structlog.get_logger(__name__)
T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 5.0


def until_written(write: Callable[[], T]) -> T:
    """Do ``write``, again and again while the database cannot be reached or refuses for the moment."""
    pause = 0.1
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            logger.warning("write_is_repeated", error=type(error).__name__)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
