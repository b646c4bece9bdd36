"""Looking around in what everybody has published: the lists of browse/."""

import datetime as dt
import hashlib
from datetime import UTC, datetime
from typing import Any

from deviantart.sandbox import paging, works
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import refused
from deviantart.sandbox.params import is_uuid
from deviantart.sandbox.users import author

_MAX_DEVIATIONS = 50
_MAX_TOPICS = 10
_MAX_IN_TOPIC = 24
_EXAMPLES = 5
_DAILY = 10
# A topic holds the works that are tagged with its canonical name.
TOPICS = {
    "Fantasy": "fantasy",
    "Landscapes and Scenery": "landscape",
    "Portraits": "portrait",
    "Digital Art": "digitalart",
    "Photography": "photography",
    "Sketches": "sketch",
    "Night": "night",
    "Sea": "sea",
    "Animals": "animals",
    "Science Fiction": "scifi",
    "Still Life": "stilllife",
    "Abstract": "abstract",
}
_TAGGED = "EXISTS (SELECT 1 FROM json_each(d.tags) WHERE lower(value) = ?)"
_SHARES_A_TAG = (
    "EXISTS (SELECT 1 FROM json_each(d.tags) one, json_each(?) other WHERE lower(one.value) = lower(other.value))"
)
_PUBLIC = "NOT d.is_deleted AND u.state = 'active'"
_POPULAR = "d.favourites DESC, d.number"


def home(call: Call) -> dict[str, Any]:
    return paging.deviations(call, _PUBLIC, [], maximum=_MAX_DEVIATIONS, order=_POPULAR)


def deviants_you_watch(call: Call) -> dict[str, Any]:
    where = f"{_PUBLIC} AND d.userid IN (SELECT watched FROM watches WHERE userid = ?)"  # noqa: S608 - our constant
    return paging.deviations(call, where, [call.userid], maximum=_MAX_DEVIATIONS)


def tags(call: Call) -> dict[str, Any]:
    tag = call.params.required("tag")
    mode = call.params.choice("mode", ("newest", "popular")) or "popular"
    order = _POPULAR if mode == "popular" else "d.published_at DESC, d.rowid DESC"
    return paging.deviations(call, f"{_PUBLIC} AND {_TAGGED}", [tag.lower()], maximum=_MAX_DEVIATIONS, order=order)


def search_tags(call: Call) -> dict[str, Any]:
    """Tags in use that begin so; three letters at least."""
    beginning = call.params.required("tag_name").lower()
    if 0 < len(beginning) < 3:
        call.params.refuse("tag_name")
    call.params.check()
    rows = call.state.store.all(
        "SELECT lower(value) AS tag, count(*) AS count FROM deviations d, json_each(d.tags)"
        " WHERE NOT d.is_deleted AND substr(lower(value), 1, ?) = ? GROUP BY tag ORDER BY count DESC, tag LIMIT 10",
        len(beginning),
        beginning,
    )
    return {"results": [{"tag_name": row["tag"]} for row in rows]}


def topics(call: Call) -> dict[str, Any]:
    offset, limit = paging.page(call, _MAX_TOPICS)
    names = list(TOPICS)[offset : offset + limit]
    return paging.paged(
        [_topic(call, name, "example_deviations") for name in names],
        has_more=offset + limit < len(TOPICS),
        next_offset=offset + limit,
    )


def top_topics(call: Call) -> dict[str, Any]:
    return {"results": [_topic(call, name, "deviations") for name in list(TOPICS)[:_EXAMPLES]]}


def topic(call: Call) -> dict[str, Any]:
    canonical_name = call.params.required("topic")
    if canonical_name and canonical_name not in TOPICS.values():
        call.params.refuse("topic")
    return paging.deviations(call, f"{_PUBLIC} AND {_TAGGED}", [canonical_name], maximum=_MAX_IN_TOPIC, order=_POPULAR)


def daily_deviations(call: Call) -> dict[str, Any]:
    """The same ten of what had been published by then, whenever one asks."""
    given = call.params.text("date")
    today = datetime.fromtimestamp(call.state.clock.now(), UTC).date()
    try:
        date = dt.date.fromisoformat(given) if given else today
    except ValueError:
        call.params.refuse("date")
        date = today
    call.params.check()
    end = datetime.combine(date, dt.time(), UTC) + dt.timedelta(days=1)
    where = f"{_shown(call)} AND d.published_at < ?"
    rows = works.listed(call.state, where, [end.timestamp()], offset=0, limit=1000, order="d.number")

    def lot(deviationid: str) -> bytes:
        return hashlib.sha256(f"{date} {deviationid}".encode()).digest()

    chosen = sorted(rows, key=lambda row: lot(row["deviationid"]))[:_DAILY]
    daily = {"body": "Chosen by lot.", "time": f"{date}T00:00:00-0700"}
    return {
        "results": [
            {**works.deviation(call.state, row), "daily_deviation": {**daily, "giver": author(call.state, row)}}
            for row in chosen
        ]
    }


def more_like_this(call: Call) -> dict[str, Any]:
    """More of the same artist, and of others who share a tag."""
    seed = call.params.required("seed")
    if seed and not is_uuid(seed):
        call.params.problems["seed"] = "seed is not a valid UUID"
    call.params.check()
    work = works.find_work(call.state, seed)
    if work is None or work["is_deleted"]:
        raise refused("Invalid seed.", 0)
    shown = _shown(call)
    of_artist = works.listed(
        call.state,
        f"{shown} AND d.userid = ? AND d.deviationid != ?",
        [work["userid"], work["deviationid"]],
        offset=0,
        limit=_EXAMPLES,
    )
    of_others = works.listed(
        call.state,
        f"{shown} AND d.userid != ? AND {_SHARES_A_TAG}",
        [work["userid"], work["tags"]],
        offset=0,
        limit=_EXAMPLES,
    )
    return {
        "seed": work["deviationid"],
        "author": author(call.state, work),
        "more_from_artist": [works.deviation(call.state, row) for row in of_artist],
        "more_from_da": [works.deviation(call.state, row) for row in of_others],
        "suggested_collections": [],
    }


def _shown(call: Call) -> str:
    """Which works a list without pages shows: mature ones only when they are asked for."""
    mature = call.params.boolean("mature_content", default=False)
    call.params.check()
    return _PUBLIC if mature else f"{_PUBLIC} AND NOT d.is_mature"


def _topic(call: Call, name: str, key: str) -> dict[str, Any]:
    rows = works.listed(
        call.state, f"{_PUBLIC} AND NOT d.is_mature AND {_TAGGED}", [TOPICS[name]], offset=0, limit=_EXAMPLES,
        order=_POPULAR,
    )  # fmt: skip
    return {"name": name, "canonical_name": TOPICS[name], key: [works.deviation(call.state, row) for row in rows]}


ENDPOINTS = [
    Endpoint("GET", "/browse/home", home, scopes=("browse",)),
    Endpoint("GET", "/browse/deviantsyouwatch", deviants_you_watch, scopes=("browse",), needs_user=True),
    Endpoint("GET", "/browse/tags", tags, scopes=("browse",)),
    Endpoint("GET", "/browse/tags/search", search_tags, scopes=("browse",)),
    Endpoint("GET", "/browse/topics", topics, scopes=("browse",)),
    Endpoint("GET", "/browse/toptopics", top_topics, scopes=("browse",)),
    Endpoint("GET", "/browse/topic", topic, scopes=("browse",)),
    Endpoint("GET", "/browse/dailydeviations", daily_deviations, scopes=("browse",)),
    Endpoint("GET", "/browse/morelikethis/preview", more_like_this, scopes=("browse",)),
]
