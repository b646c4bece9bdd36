"""What an automation writes into a draft that it schedules: default values, and protection for the sale queue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from automations.models import Automation, DefaultValue
from automations.services import texts
from deviations.models import Deviation
from deviations.services.drafting import DESCRIPTION_MAX_LENGTH
from deviations.services.scheduling import Appointment

Field, Mode = DefaultValue.Field, DefaultValue.Mode
TAG_MAX_LENGTH = 100
# What automations wrote into a draft before: by field what it said, and what was written.
Earlier = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Filling:
    """The default values of an automation, read once for all the drafts that they are written into."""

    automation: Automation
    defaults: tuple[DefaultValue, ...] = ()

    @classmethod
    def of(cls, automation: Automation, defaults: Iterable[DefaultValue]) -> "Filling":
        places = {name: place for place, name in enumerate(Field.values)}
        return cls(automation, tuple(sorted(defaults, key=lambda each: places[each.field])))

    # What decides which drafts can be published once it is written into them; see `services.picking`.
    @property
    def title(self) -> str:
        """When it writes a title: `always`, `untouched`, or never: empty."""
        return self._mode(Field.TITLE)

    @property
    def replaces_tags(self) -> bool:
        return self._mode(Field.TAGS) == Mode.ALWAYS

    @property
    def upload_mode(self) -> str | None:
        return self._value(Field.UPLOAD_MODE)

    @property
    def makes_mature(self) -> bool | None:
        """What it says of every draft; None: it leaves that to the drafts."""
        return self._value(Field.IS_MATURE) if self._mode(Field.IS_MATURE) == Mode.ALWAYS else None

    @property
    def mature_unless_said(self) -> bool | None:
        return self._value(Field.IS_MATURE)

    @property
    def has_mature_level(self) -> bool:
        return bool(self._value(Field.MATURE_LEVEL))

    @property
    def counts(self) -> bool:
        """Whether any text has `{counter}`."""
        return any("counter" in texts.read_text(text).variables for each in self.defaults for text in _texts_in(each))

    def _mode(self, name: str) -> str:
        return next((each.mode for each in self.defaults if each.field == name), "")

    def _value(self, name: str) -> Any:
        return next((each.value for each in self.defaults if each.field == name), None)


@dataclass(frozen=True, slots=True)
class Filled:
    """What is to be written into one draft. ``counted``: a text of it has the counter's number."""

    words: dict[str, Any] = field(default_factory=dict)
    counted: bool = False


def fill(filling: Filling, draft: Deviation, facts: texts.Facts, *, earlier: Earlier) -> Filled:
    """What the automation writes into ``draft``, which is left as it is.

    *Untouched* is null, or an empty title: an explicit *no*, a zero or an empty text was said, and stays. So is what an
    automation wrote ``earlier``, before the work was taken back.
    """
    automation, words, counted = filling.automation, {}, False
    for each in filling.defaults:
        if each.mode == Mode.UNTOUCHED and not is_untouched(draft, each.field, earlier):
            continue
        words[each.field] = _value_for(each, facts)
        counted = counted or any("counter" in texts.read_text(text).variables for text in _texts_in(each))

    def says(name: str) -> Any:
        return words.get(name, getattr(draft, name))

    if automation.stash_only and says("stash_only") is None:
        words["stash_only"] = True
    if automation.add_to_sale_queue:
        if automation.protect_watermark:
            words["add_watermark"] = True
        if automation.protect_no_download:
            words["allow_free_download"] = False
        most = automation.protect_display_resolution
        # 0 is the original's size. Where the artist wants less than the most, that is protection enough.
        if most and not 0 < (says("display_resolution") or 0) <= most:
            words["display_resolution"] = most
    return Filled({name: value for name, value in words.items() if value != getattr(draft, name)}, counted)


def is_untouched(draft: Deviation, name: str, earlier: Earlier) -> bool:
    value = said_by_the_artist(draft, name, earlier)
    return value is None or (name == Field.TITLE and not value.strip())


def said_by_the_artist(draft: Deviation, name: str, earlier: Earlier) -> Any:
    """What a field says but for what an automation wrote into it, unless somebody has changed that since."""
    value = getattr(draft, name)
    if name in earlier and _as_json(value) == earlier[name]["written"]:
        return _from_json(name, earlier[name]["before"])
    return value


# --- what it said before ---------------------------------------------------------------------------------------------
def changes_by(draft: Deviation, appointment: Appointment, *, earlier: Earlier) -> dict[str, dict[str, Any]]:
    """For `ExecutionWork.values_before`: by field what the artist had said, and what is written in its place.

    Both are JSON: ids are texts. The second tells later whether somebody has changed it since.
    """
    written = {name: getattr(draft, name) for name in earlier} | dict(appointment.words)
    if appointment.account is not None:
        written["account_id"] = appointment.account.pk
    before = {name: said_by_the_artist(draft, name, earlier) for name in written}
    return {
        name: {"before": _as_json(before[name]), "written": _as_json(value)}
        for name, value in written.items()
        if before[name] != value
    }


def to_take_back(draft: Deviation, values_before: Earlier) -> dict[str, Any]:
    """Of what was written into a draft, what it said before; without the fields that somebody has changed since."""
    return {
        name: _from_json(name, value["before"])
        for name, value in values_before.items()
        if _as_json(getattr(draft, name)) == value["written"]
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return [_as_json(each) for each in value] if isinstance(value, list) else value


def _from_json(name: str, value: Any) -> Any:
    if name == "account_id":
        return None if value is None else UUID(value)
    if name == Field.GALLERY_IDS and value is not None:
        return [UUID(each) for each in value]
    return value


# --- values ----------------------------------------------------------------------------------------------------------
_TEXTS = (Field.TITLE, Field.DESCRIPTION, Field.TAGS)


def _texts_in(default: DefaultValue) -> Sequence[str]:
    if default.field not in _TEXTS:
        return ()
    return default.value if isinstance(default.value, list) else [default.value]


def _value_for(default: DefaultValue, facts: texts.Facts) -> Any:
    match default.field:
        case Field.TITLE:
            return texts.render_title(default.value, facts)
        case Field.DESCRIPTION:
            return texts.render_description(default.value, facts, most=DESCRIPTION_MAX_LENGTH)
        case Field.TAGS:
            return texts.render_tags(default.value, facts, longest=TAG_MAX_LENGTH)
        case Field.GALLERY_IDS:
            return [UUID(each) for each in default.value]
        case _:
            return default.value
