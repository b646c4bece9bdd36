"""How gunicorn fits in: its lines go where all others go."""

import os
from typing import Any

from django.conf import settings
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "isekai.settings")


class EventLogger(Logger):  # type: ignore[misc]
    """Hands gunicorn's lines to the log that the settings set up, in place of writing them itself."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        # The master serves no page and loads no app: nothing else would have read the settings by now.
        self.error_log.setLevel(settings.LOG_LEVEL)
