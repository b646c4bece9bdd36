"""A server that is away costs whoever notices it a moment, and those after them nothing."""

import time

import structlog

logger = structlog.get_logger(__name__)

PAUSE_SECONDS = 2.0


class Outage:
    """Remembers for a process that a server did not answer; it is asked again after a pause.

    Threads share it without a lock: at worst one of them asks once more than it had to.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self._until = 0.0
        self._noticed = False

    def lasts(self) -> bool:
        return time.monotonic() < self._until

    def noticed(self, error: Exception) -> None:
        self._until = time.monotonic() + PAUSE_SECONDS
        if not self._noticed:
            self._noticed = True
            logger.warning("server_away", server=self.server, error=type(error).__name__)

    def over(self) -> None:
        self._until = 0.0
        if self._noticed:
            self._noticed = False
            logger.info("server_back", server=self.server)
