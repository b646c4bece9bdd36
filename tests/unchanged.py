"""Asserting that what was refused has changed nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest

from accounts.models import AuditEvent, IdempotencyKey
from automations.models import Automation, Blackout, DefaultValue, Execution, ExecutionWork, ScheduleRule
from deviations.models import Deviation, DeviationFile, FileVariant, Upload
from isekai.errors import IsekaiError
from publisher.models import Publication

E = TypeVar("E", bound=IsekaiError)

MODELS: tuple[Any, ...] = (
    Deviation,
    DeviationFile,
    FileVariant,
    Upload,
    Publication,
    Automation,
    ScheduleRule,
    DefaultValue,
    Blackout,
    Execution,
    ExecutionWork,
    AuditEvent,
    IdempotencyKey,
)


def everything() -> dict[str, list[dict[str, Any]]]:
    """All rows that doors and services of works and automations write, to be compared before and after."""
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in MODELS}


def assert_refused(error: type[E], call: Callable[..., Any], *args: Any, **kwargs: Any) -> E:
    """``call`` raises ``error`` and leaves every row as it was; returns what it raised."""
    before = everything()
    with pytest.raises(error) as refused:
        partial(call, *args, **kwargs)()
    assert everything() == before
    return refused.value
