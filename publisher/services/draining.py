"""A publisher process that is to end: it takes up nothing new, and finishes what it holds."""

import threading

import structlog

logger = structlog.get_logger(__name__)

_begun = threading.Event()


def begin() -> None:
    """From now on this process claims no work and opens no upload; harmless twice."""
    if not _begun.is_set():
        _begun.set()
        logger.info("draining_begun")


def stopping() -> bool:
    """Whether this process is to end: asked before each claim, and between two works or files."""
    return _begun.is_set()
