"""The frozen form of the API. Programs of others depend on it: what is there stays as it is, new things may come."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

FROZEN = Path(__file__).parent.parent / "schema.yml"
THAW = f"""The form of the API is not the one in {FROZEN.name} any more. Where all that differs is new, freeze it again:

    ./dev manage spectacular --file tests/schema.yml

If something that was there is gone or means something else, it belongs into the next version of the API instead."""


def generated() -> dict[str, Any]:
    # Through YAML, as the file has been: lazy texts become texts.
    written = OpenApiYamlRenderer().render(SchemaGenerator().get_schema(request=None, public=True))
    return without_version(yaml.safe_load(written))


def frozen() -> dict[str, Any]:
    return without_version(yaml.safe_load(FROZEN.read_text()))


def without_version(schema: dict[str, Any]) -> dict[str, Any]:
    """Isekai's own version is not the API's."""
    del schema["info"]["version"]
    return schema


def missing(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What is in ``old`` and not the same in ``new``; of lists, what is not in them any more."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key in {"description", "title", "example"}:
                continue
            if key in new:
                yield from missing(value, new[key], f"{where}/{key}")
            else:
                yield f"{where}/{key}"
    elif isinstance(old, list) and isinstance(new, list):
        yield from (f"{where}: {value}" for value in old if value not in new)
        # A request that was complete stays complete.
        if where.endswith("Request/required"):
            yield from (f"{where}: {value} is demanded now" for value in new if value not in old)
    elif old != new:
        yield f"{where}: {old} is {new} now"


def test_the_schema_is_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    generated()
    assert not GENERATOR_STATS


def test_nothing_that_programs_depend_on_has_gone() -> None:
    assert list(missing(frozen(), generated())) == []


def test_the_frozen_form_is_the_one_of_now() -> None:
    assert generated() == frozen(), THAW
