"""What people see: the gallery of what was published, a page for each work and artist, and the page that asks."""

import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import quote, unquote

from deviantart.sandbox import works
from deviantart.sandbox.exchange import Response
from deviantart.sandbox.params import Params
from deviantart.sandbox.state import State

_STYLE = Path(__file__).with_name("sandbox.css").read_bytes()
_PER_PAGE = 60


def show(state: State, path: str, params: Params) -> Response:
    """The page at ``path``: the front page, an artist, a work, or "not found"."""
    match path.strip("/").split("/"):
        case [""]:
            return _front_page(state, params)
        case ["sandbox.css"]:
            return Response(body=_STYLE, content_type="text/css; charset=utf-8", headers={"Cache-Control": "no-cache"})
        case ["avatars", name] if name.endswith(".svg"):
            return _avatar(name.removesuffix(".svg"))
        case [username]:
            return _artist_page(state, username, params)
        case [username, "art", slug]:
            return _work_page(state, username, slug)
    return not_found()


def not_found() -> Response:
    return message_page(404, "Nothing here", "No work, artist or page of the sandbox has this address.")


def message_page(status: int, heading: str, text: str) -> Response:
    return _page(heading, f'<div class="notice"><h1>{escape(heading)}</h1><p>{escape(text)}</p></div>', status=status)


def authorize_page(
    *, app_name: str, scopes: Iterable[str], usernames: list[str], suggestion: str, query: str, problem: str | None
) -> Response:
    """Asks which user of the sandbox allows the application what it wants. Its form posts to the same address."""
    wishes = "".join(f"<li>{escape(scope)}</li>" for scope in scopes)
    choice = ""
    if usernames:
        options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in usernames)
        choice = (
            '<label for="username">Artist</label>'
            f'<select id="username" name="username">{options}</select>'
            '<p class="or">or</p>'
        )
    label = "A new artist" if usernames else "Name of your first artist"
    value = "" if usernames else f' value="{escape(suggestion)}"'
    error = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    body = f"""
<form class="consent" method="post" action="/oauth2/authorize?{escape(query)}">
  <h1>Let {escape(app_name)} use an account?</h1>
  <p class="plain"><strong>This is the DeviantArt sandbox, not DeviantArt.</strong> It needs no password, and nothing
  reaches the real one. Choose any artist, or make one up.</p>
  {error}
  {choice}
  <label for="new_username">{label}</label>
  <input id="new_username" name="new_username" maxlength="50" autocomplete="off" spellcheck="false"{value}>
  <p>{escape(app_name)} asks to:</p>
  <ul>{wishes}</ul>
  <div class="buttons">
    <button class="allow" name="decision" value="allow">Allow</button>
    <button name="decision" value="deny">Deny</button>
  </div>
</form>"""
    return _page(f"Connect {app_name}", body, status=400 if problem else 200)


def _front_page(state: State, params: Params) -> Response:
    count = state.store.value("SELECT count(*) FROM deviations WHERE NOT is_deleted")
    if not count:
        body = """
<div class="notice">
  <h1>Nothing has been published yet</h1>
  <p>This is a stand-in for DeviantArt. What your application publishes appears here.</p>
  <ol>
    <li>In your application, connect a DeviantArt account.</li>
    <li>When the sandbox asks, choose an artist or make one up, and press <em>Allow</em>.</li>
    <li>Publish a picture, then load this page again.</li>
  </ol>
</div>"""
        return _page("DeviantArt sandbox", body)
    title = f"{count} published {'work' if count == 1 else 'works'}"
    return _gallery(state, "Newest works", title, "WHERE NOT d.is_deleted ", (), params)


def _artist_page(state: State, username: str, params: Params) -> Response:
    user = state.store.one("SELECT * FROM users WHERE username = ?", username)
    if user is None:
        return not_found()
    count = state.store.value("SELECT count(*) FROM deviations WHERE userid = ? AND NOT is_deleted", user["userid"])
    subtitle = f"{count} published {'work' if count == 1 else 'works'}" if count else "Nothing published yet."
    return _gallery(
        state, user["username"], subtitle, "WHERE d.userid = ? AND NOT d.is_deleted ", (user["userid"],), params
    )


def _gallery(
    state: State, heading: str, subtitle: str, where: str, values: tuple[str, ...], params: Params
) -> Response:
    given = params.text("offset") or "0"
    offset = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
    rows = state.store.all(
        works.SELECT + where + "ORDER BY d.published_at DESC, d.rowid DESC LIMIT ? OFFSET ?",
        *values,
        _PER_PAGE + 1,
        offset,
    )
    cards = "".join(_card(state, row) for row in rows[:_PER_PAGE])
    links = []
    if offset:
        links.append(f'<a rel="prev" href="?offset={max(0, offset - _PER_PAGE)}">Newer</a>')
    if len(rows) > _PER_PAGE:
        links.append(f'<a rel="next" href="?offset={offset + _PER_PAGE}">Older</a>')
    navigation = f'<nav class="pages" aria-label="Pages">{"".join(links)}</nav>' if links else ""
    body = (
        f'<header class="heading"><h1>{escape(heading)}</h1><p>{escape(subtitle)}</p></header>'
        f'<ul class="wall">{cards}</ul>{navigation}'
    )
    return _page(heading, body)


def _card(state: State, work: sqlite3.Row) -> str:
    title, username = escape(work["title"]), escape(work["username"])
    return (
        f'<li class="card"><a class="picture" href="{escape(works.page_url(state, work))}" tabindex="-1">'
        f"{_thumbnail(state, work)}</a>"
        f'<a class="title" href="{escape(works.page_url(state, work))}">{title}</a>'
        f'<span class="by">by <a href="/{quote(work["username"])}">{username}</a></span>'
        f'<span class="by">{_time(work["published_at"])}</span>'
        "</li>"
    )


def _thumbnail(state: State, work: sqlite3.Row) -> str:
    if work["kind"] != "image":
        return f'<span class="file">{escape(work["filename"])}</span>'
    source = escape(works.scaled_url(state, work, 300))
    return f'<img src="{source}" alt="" loading="lazy">'


def _work_page(state: State, username: str, slug: str) -> Response:
    number = slug.rpartition("-")[2]
    if not (number.isascii() and number.isdecimal() and len(number) <= 10):
        return not_found()
    work = state.store.one(works.SELECT + "WHERE d.number = ? AND u.username = ?", int(number), username)
    if work is None or work["is_deleted"] or work["half_published"]:
        return not_found()
    file, title = escape(works.file_url(state, work)), escape(work["title"])
    if work["kind"] == "image":
        picture = f'<a href="{file}"><img src="{file}" alt="{title}"></a>'
    elif work["kind"] == "video":
        picture = f'<video src="{file}" controls></video>'
    else:
        picture = f'<a class="file" href="{file}">{escape(work["filename"])}</a>'
    tags = "".join(f"<li>#{escape(tag)}</li>" for tag in works.tags_of(work))
    size = f"{work['width']} by {work['height']} pixels" if work["kind"] == "image" else work["content_type"]
    body = f"""
<article class="work">
  <figure>{picture}</figure>
  <div class="facts">
    <h1>{title}</h1>
    <p class="by">by <a href="/{quote(work["username"])}">{escape(work["username"])}</a> · published
    {_time(work["published_at"])}</p>
    <p class="description">{escape(work["artist_comments"]) or "No description."}</p>
    {f'<ul class="tags" aria-label="Tags">{tags}</ul>' if tags else ""}
    <p class="small">{escape(size)}{" · mature" if work["is_mature"] else ""} · uploaded with
    {escape(work["app_name"] or "an application that is gone")}</p>
  </div>
</article>"""
    return _page(work["title"], body)


def _avatar(username: str) -> Response:
    hue = int(hashlib.sha256(unquote(username).lower().encode()).hexdigest()[:4], 16) % 360
    letter = escape(username[:1].upper())
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 50 50" width="50" height="50">'
        f'<rect width="50" height="50" fill="hsl({hue} 45% 40%)"/>'
        '<text x="25" y="34" text-anchor="middle" font-family="sans-serif" font-size="26" fill="#fff">'
        f"{letter}</text></svg>"
    )
    return Response(body=svg.encode(), content_type="image/svg+xml", headers={"Cache-Control": "max-age=3600"})


def _time(moment: float) -> str:
    instant = datetime.fromtimestamp(moment, UTC)
    return f'<time datetime="{instant.isoformat(timespec="seconds")}">{instant:%d %b %Y, %H:%M:%S} UTC</time>'


def _page(title: str, body: str, *, status: int = 200) -> Response:
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · DeviantArt sandbox</title>
<link rel="icon" href="/avatars/sandbox.svg">
<link rel="stylesheet" href="/sandbox.css">
</head>
<body>
<header class="top"><a href="/">DeviantArt <span>sandbox</span></a><p>A stand-in for tests. Not DeviantArt.</p></header>
<main>{body}</main>
</body>
</html>
"""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return Response(status, html.encode(), headers=headers)
