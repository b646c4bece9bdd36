"""An artist of the sandbox and the application that acts for them, as plain HTTP."""

import copy
import io
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import requests
from PIL import Image

from tests.sandbox_process import SandboxProcess

API = "/api/v1/oauth2"
ALL_SCOPES = ["basic", "user", "browse", "stash", "publish", "gallery"]


@cache
def picture(width: int = 640, height: int = 480, *, seed: int = 0, form: str = "PNG") -> bytes:
    """A picture that no other seed gives."""
    draw = random.Random(seed)
    image = Image.frombytes("RGB", (8, 6), draw.randbytes(8 * 6 * 3)).resize((width, height))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


class Artist:
    """``username`` with a token of their own; requests go out as ``requests`` sends them (gzip, a User-Agent)."""

    def __init__(self, sandbox: SandboxProcess, username: str = "anna", *, scopes: list[str] | None = None) -> None:
        self.sandbox = sandbox
        self.username = username
        self.tokens = sandbox.tokens(username, scopes=ALL_SCOPES if scopes is None else scopes)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.tokens['access_token']}"

    def twin(self) -> "Artist":
        """The same artist and token on a connection of its own."""
        other = copy.copy(self)
        other.session = requests.Session()
        other.session.headers.update(self.session.headers)
        return other

    def get(self, path: str, **arguments: Any) -> requests.Response:
        return self.session.get(self.sandbox.base_url + API + path, timeout=20, **arguments)

    def post(self, path: str, **arguments: Any) -> requests.Response:
        return self.session.post(self.sandbox.base_url + API + path, timeout=20, **arguments)

    def submit(self, content: bytes | None = None, *, filename: str = "sky.png", **fields: Any) -> requests.Response:
        """``tags`` and other lists are sent as ``name[]``."""
        file = (filename, picture() if content is None else content, "image/png")
        return self.post("/stash/submit", data=_form(fields), files={"file": file})

    def item(self, content: bytes | None = None, **fields: Any) -> int:
        answer = self.submit(content, **fields)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["itemid"])

    def publish(self, itemid: Any, **fields: Any) -> requests.Response:
        return self.post("/stash/publish", data=_form({"itemid": itemid, "is_mature": "false", **fields}))

    def published(self, content: bytes | None = None, *, title: str = "Night sky", **options: Any) -> dict[str, Any]:
        """Upload and publish; the answer of the publish call."""
        answer = self.publish(self.item(content, title=title), **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def gallery(self, **parameters: Any) -> dict[str, Any]:
        answer = self.get("/gallery/all", params={"limit": 24, "mature_content": "true", **parameters})
        assert answer.status_code == 200, answer.text
        return answer.json()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Ask again and again. Raises AssertionError when the condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "It did not come true."
        time.sleep(0.01)


def refusal(answer: requests.Response) -> tuple[int, str, int | None]:
    """Status, ``error`` and ``error_code`` of an answer in DeviantArt's error envelope."""
    body = answer.json()
    assert body["status"] == "error"
    assert isinstance(body["error_description"], str)
    return answer.status_code, body["error"], body.get("error_code")


def _form(fields: dict[str, Any]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in fields.items():
        if isinstance(value, list):
            pairs += [(f"{name}[]", entry) for entry in value]
        elif isinstance(value, dict):
            pairs += [(f"{name}[{key}]", entry) for key, entry in value.items()]
        else:
            pairs.append((name, value))
    return pairs
