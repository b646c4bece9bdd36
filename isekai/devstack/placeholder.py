"""What answers on the web port while web does not: a page that says which parts are up."""

import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STARTING_HEADER = "X-Isekai-Starting"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="1">
<title>Isekai is starting</title>
<style nonce="{nonce}">
  :root {{ color-scheme: light dark; }}
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto 0; padding: 0 1rem; }}
  h1 {{ font-size: 1.4rem; }}
  li {{ display: flex; gap: 1rem; padding: .15rem 0; }}
  ul {{ list-style: none; padding: 0; }}
  li b {{ min-width: 7rem; font-weight: 600; }}
  .ready {{ opacity: .65; }}
</style>
</head>
<body>
<h1>Isekai is starting</h1>
<p role="status">{summary}</p>
<ul>
{rows}
</ul>
<p>This page looks again every second. The terminal in which <code>./dev up</code> runs shows the logs.</p>
</body>
</html>
"""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listening: socket.socket, states: Callable[[], Mapping[str, str]]) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that the base class has made: we answer on one that is open already
        self.socket = listening
        self.states = states


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def _answer(self) -> None:
        states = self.server.states()
        missing = [name for name, state in states.items() if state != "ready"]
        summary = f"Not ready yet: {', '.join(missing)}." if missing else "Everything is up; one moment."
        nonce = secrets.token_urlsafe(16)
        if "text/html" in self.headers.get("Accept", ""):
            kind = "text/html; charset=utf-8"
            rows = "\n".join(
                f'<li class="{escape(state.split()[0])}"><b>{escape(name)}</b> {escape(state)}</li>'
                for name, state in states.items()
            )
            body = PAGE.format(nonce=nonce, summary=escape(summary), rows=rows).encode()
        else:
            kind = "application/json"
            error = {"code": "starting", "message": summary, "details": dict(states), "request_id": None}
            body = json.dumps(error).encode()
        self.send_response(503)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"default-src 'none'; style-src 'nonce-{nonce}'")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Retry-After", "1")
        self.send_header(STARTING_HEADER, "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # The base class looks for these names.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Silent: a page that asks every second would fill the stream."""


class Placeholder:
    """Answers on a listening socket, which it shares with web and never closes, from ``show`` to ``hide``.

    Because the socket stays open all the time no connection is ever refused: it waits until one of the two accepts it.
    """

    def __init__(self, listening: socket.socket, states: Callable[[], Mapping[str, str]]) -> None:
        """``states`` maps each part to ``ready`` or to what it is doing."""
        listening.setblocking(False)
        self._server = _Server(listening, states)
        self._thread: threading.Thread | None = None

    def show(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
            self._thread.start()

    def hide(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
