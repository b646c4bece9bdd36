"""Reading what others can read too: works, people, and the lists of browse/ (deviantart-api.md, sections 9 and 10)."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from deviantart import types
from deviantart.calls import Calls, boolean, segment
from deviantart.errors import Call
from deviantart.types import Deviation, Download, Metadata, MoreLikeThis, Page, Profile, Topic, User

METADATA_MAX = 50
METADATA_MAX_EXTENDED = 10
BROWSE_PAGE_MAX = 50
TOPIC_PAGE_MAX = 24
TOPICS_PAGE_MAX = 10


class People(Calls):
    def whoami(self) -> User:
        """Whose token this is."""
        return self._get("user/whoami", read=lambda payload, _: types.user(payload))

    def placebo(self) -> None:
        """Ask whether the token is good, before a long upload that would notice only at its end (section 3.8)."""
        self._get("placebo", read=lambda *_: None)

    def profile(self, username: str) -> Profile:
        """What somebody says of themselves. Raises NotFound, and AccountGone for a suspended or inactive account."""
        return self._get(
            f"user/profile/{segment(username)}", read=lambda payload, _: types.profile(payload), call=Call.PROFILE
        )

    def profile_posts(self, username: str, *, cursor: str | None = None) -> Page[Deviation]:
        """One page of somebody's journals and status updates, which goes on at a cursor."""
        at = [] if cursor is None else [("cursor", cursor)]
        return self._get(
            "user/profile/posts",
            params=[("username", username), *at],
            read=lambda payload, received: types.page(payload, types.deviation, received),
        )


class Browsing(Calls):
    def deviation(self, deviation_id: str) -> Deviation:
        """One work. Raises NotFound; one that was deleted may also come as ``is_deleted``."""
        return self._get(
            f"deviation/{segment(deviation_id)}", read=lambda payload, _: types.deviation(payload), call=Call.DEVIATION
        )

    def deviation_metadata(self, ids: Sequence[str], *, ext_submission: bool = False) -> tuple[Metadata, ...]:
        """What is known of up to 50 works, or up to 10 with the application that submitted each (section 9)."""
        most = METADATA_MAX_EXTENDED if ext_submission else METADATA_MAX
        if not 0 < len(ids) <= most:
            raise ValueError(f"DeviantArt tells about 1 to {most} works at once, not about {len(ids)}.")
        params = [("deviationids[]", each) for each in ids]
        if ext_submission:
            params.append(("ext_submission", "true"))
        return self._get("deviation/metadata", params=params, read=lambda payload, _: types.metadata_list(payload))

    def download(self, deviation_id: str) -> Download:
        """Where a work's file lies. Raises NotFound, and NotDownloadable when its artist does not give it away."""
        return self._get(
            f"deviation/download/{segment(deviation_id)}",
            read=lambda payload, _: types.download(payload),
            call=Call.DOWNLOAD,
        )

    def browse_home(
        self,
        *,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = BROWSE_PAGE_MAX,
        mature_content: bool = False,
    ) -> Page[Deviation]:
        """One page of what DeviantArt shows to this artist first."""
        return self._deviations(
            "browse/home",
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=BROWSE_PAGE_MAX,
            mature_content=mature_content,
        )

    def browse_deviants_you_watch(
        self,
        *,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = BROWSE_PAGE_MAX,
        mature_content: bool = False,
    ) -> Page[Deviation]:
        """One page of works by those whom this artist watches, newest first."""
        return self._deviations(
            "browse/deviantsyouwatch",
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=BROWSE_PAGE_MAX,
            mature_content=mature_content,
        )

    def browse_tag(
        self,
        tag: str,
        *,
        mode: Literal["newest", "popular"] = "popular",
        offset: int = 0,
        cursor: str | None = None,
        limit: int = BROWSE_PAGE_MAX,
        mature_content: bool = False,
    ) -> Page[Deviation]:
        """One page of works with a tag."""
        return self._deviations(
            "browse/tags",
            params=[("tag", tag), ("mode", mode)],
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=BROWSE_PAGE_MAX,
            mature_content=mature_content,
        )

    def search_tags(self, beginning: str) -> tuple[str, ...]:
        """Tags in use that begin so; DeviantArt wants three letters at least."""
        return self._get(
            "browse/tags/search", params=[("tag_name", beginning)], read=lambda payload, _: types.tag_names(payload)
        )

    def browse_topic(
        self,
        topic: str,
        *,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = TOPIC_PAGE_MAX,
        mature_content: bool = False,
    ) -> Page[Deviation]:
        """One page of works of a topic, named by its ``canonical_name``."""
        return self._deviations(
            "browse/topic",
            params=[("topic", topic)],
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=TOPIC_PAGE_MAX,
            mature_content=mature_content,
        )

    def browse_topics(
        self, *, offset: int = 0, cursor: str | None = None, limit: int = TOPICS_PAGE_MAX, mature_content: bool = False
    ) -> Page[Topic]:
        """One page of topics, each with a few of its works."""
        return self._page(
            "browse/topics",
            types.topic,
            params=[("mature_content", boolean(mature_content))],
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=TOPICS_PAGE_MAX,
        )

    def browse_top_topics(self, *, mature_content: bool = False) -> tuple[Topic, ...]:
        """The topics that matter most now, each with a few of its works."""
        return self._get(
            "browse/toptopics",
            params=[("mature_content", boolean(mature_content))],
            read=lambda payload, _: types.results(payload, types.topic),
        )

    def browse_daily(self, day: date | None = None, *, mature_content: bool = False) -> tuple[Deviation, ...]:
        """The daily deviations of a day, of today without one."""
        on = [] if day is None else [("date", day.isoformat())]
        return self._get(
            "browse/dailydeviations",
            params=[*on, ("mature_content", boolean(mature_content))],
            read=lambda payload, _: types.results(payload, types.deviation),
        )

    def more_like_this(self, deviation_id: str, *, mature_content: bool = False) -> MoreLikeThis:
        """More of the same artist, and of others, in the manner of a work. Raises NotFound for an unknown one."""
        return self._get(
            "browse/morelikethis/preview",
            params=[("seed", deviation_id), ("mature_content", boolean(mature_content))],
            read=lambda payload, _: types.more_like_this(payload),
            call=Call.MORE_LIKE_THIS,
        )
