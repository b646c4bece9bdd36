"""Several pytest processes at once (`-n`): each has a database of its own, by pytest-django, and a Redis of its own.

Loaded by `-p` in pyproject.toml, which is before the settings read the environment.
"""

import os
from urllib.parse import urlsplit

# As many as one worker uses: the queue, the cache and the sessions.
REDIS_DATABASES = 3

if worker := os.environ.get("PYTEST_XDIST_WORKER", ""):
    url = urlsplit(os.environ["REDIS_URL"])
    number = int(url.path.strip("/") or 0) + REDIS_DATABASES * int(worker.removeprefix("gw"))
    os.environ["REDIS_URL"] = url._replace(path=f"/{number}").geturl()
