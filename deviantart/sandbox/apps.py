"""The applications that may ask for what is the users'."""

import sqlite3

from deviantart.sandbox.state import State


def register_app(
    state: State,
    *,
    client_id: str,
    client_secret: str | None,
    name: str,
    url: str = "",
    redirect_uris: list[str],
    oauth: str = "2.1",
) -> None:
    """Add an application, or replace the one with this id. No secret: a public one. No redirect URI: any loopback."""
    state.store.run("DELETE FROM apps WHERE client_id = ?", client_id)
    state.store.insert(
        "apps",
        {
            "client_id": client_id,
            "client_secret": client_secret,
            "name": name,
            "url": url,
            "redirect_uris": "\n".join(redirect_uris),
            "oauth": oauth,
        },
    )


def find_app(state: State, client_id: str | None) -> sqlite3.Row | None:
    """The application with this id; None also for an id that is missing."""
    return state.store.one("SELECT * FROM apps WHERE client_id = ?", client_id or "")
