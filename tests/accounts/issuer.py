"""A DeviantArt that does nothing but renew tokens, strictly, and remembers the newest pair of everybody."""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs
from uuid import UUID

from deviantart.oauth import TokenPair


class Issuer(ThreadingHTTPServer):
    """Runs while its ``with`` block does. A refresh token is good once; ``misused`` are those that came again."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.newest: dict[UUID, TokenPair] = {}
        self.refreshes = 0
        self.misused: list[str] = []
        self._owners: dict[str, UUID] = {}
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def issue(self, owner: UUID) -> TokenPair:
        pair = TokenPair(secrets.token_hex(25), secrets.token_hex(20), 3600, ("basic",))
        self.newest[owner] = pair
        self._owners[pair.refresh_token] = owner
        return pair

    def refresh(self, refresh_token: str) -> TokenPair | None:
        with self._lock:
            owner = self._owners.pop(refresh_token, None)
            if owner is None:
                self.misused.append(refresh_token)
                return None
            self.refreshes += 1
            return self.issue(owner)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), name="issuer", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        pair = self.server.refresh(form["refresh_token"][0])
        if pair is None:
            refusal = {
                "error": "invalid_request",
                "error_description": "The refresh_token is invalid.",
                "status": "error",
            }
            return self._answer(400, refusal)
        return self._answer(
            200,
            {
                "access_token": pair.access_token,
                "refresh_token": pair.refresh_token,
                "expires_in": pair.expires_in,
                "token_type": "Bearer",
                "scope": " ".join(pair.scopes),
                "status": "success",
            },
        )

    def _answer(self, status: int, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Nothing."""
