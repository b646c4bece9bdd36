"""Which works a gallery shows: nothing is taken for two, and whatever may be out is settled or asked about."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from deviantart import types
from publisher.services import matching
from publisher.services.matching import Part, Sighting, match

HASHES = ["0" * 16, "0" * 15 + "f", "f" * 16]
NOW = datetime(2030, 1, 1, tzinfo=UTC)
titles = st.sampled_from(["one", "two"])
parts_of = st.builds(
    Part,
    st.sampled_from([uuid4() for _number in range(4)]),
    st.uuids(),
    titles.map(lambda title: frozenset([title])),
    st.sampled_from(["", *HASHES]),
    st.sampled_from([None, NOW - timedelta(hours=1), NOW + timedelta(hours=1)]),
    st.booleans(),
    st.booleans(),
)
sightings_of = st.builds(
    Sighting,
    st.builds(types.Deviation, st.uuids().map(str), titles),
    st.just(NOW),
    st.sampled_from([True, None]),
    st.sampled_from(["", *HASHES]),
)


@given(st.lists(sightings_of, max_size=5), st.lists(parts_of, max_size=6))
def test_no_sighting_is_two_works_and_every_possible_double_is_settled_or_asked_about(
    sightings: list[Sighting], parts: list[Part]
):
    findings = match(sightings, parts)
    assert len(set(findings.live.values())) == len(findings.live)
    for part, sighting in findings.live.items():
        assert sighting.is_ours
        assert sighting.title in part.titles
    explained = set(findings.live.values())
    live_works = {part.deviation_id for part in findings.live}
    assert not any(part.is_live for part in findings.live)
    for sighting in sightings:
        if sighting in explained or any(part.is_live and matching._agree(sighting, part) for part in parts):
            continue
        for part in matching._may_be(sighting, parts):
            if not part.is_live:
                assert part.deviation_id in findings.doubtful | live_works


@given(sightings_of, st.lists(parts_of, max_size=6))
def test_a_sighting_may_be_whatever_has_its_picture_and_else_whatever_has_its_title(
    sighting: Sighting, parts: list[Part]
):
    may_be = matching._may_be(sighting, parts)
    at_home = [part for part in parts if not part.is_elsewhere]
    alike = [part for part in at_home if matching._looks_like(sighting, part)]
    assert all(part in may_be for part in alike)
    assert all(part in may_be for part in parts if matching._agree(sighting, part))
    for part in at_home:
        if sighting.title in part.titles and (not part.picture_hash or not sighting.picture_hash):
            assert part in may_be
    if not any(matching._looks_like(sighting, part) for part in may_be):
        assert all(part in may_be for part in at_home if sighting.title in part.titles)


@given(st.lists(parts_of, max_size=6))
def test_an_empty_gallery_leaves_everything_as_it_is(parts: list[Part]):
    findings = match([], parts)
    assert (findings.live, findings.doubtful) == ({}, set())
