"""What an automation writes into the drafts that it schedules: one value for each field."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from automations.errors import FieldsRefused, ReferenceNotFound
from automations.models import Automation, DefaultValue
from automations.services.changing import change
from automations.services.texts import problems_of
from deviations.errors import DeviationError
from deviations.services.changing import Event
from deviations.services.drafting import checked_words
from isekai import clock

Field = DefaultValue.Field


def add_default(
    automation: Automation,
    *,
    user: User | None,
    field: str,
    value: Any,
    mode: str | None = None,
    version: int | None = None,
) -> DefaultValue:
    """Have the automation write ``value`` (in the field's own JSON type) into ``field`` of its drafts.

    Without a ``mode`` only where the artist left it alone, as far as that can be told. Raises FieldsRefused, also for a
    field that has a value already, VersionConflict (of the automation), Running, Gone.
    """
    made: list[DefaultValue] = []

    def how(row: Automation) -> list[Event]:
        default = new_default(row, {"field": field, "value": value} | ({} if mode is None else {"mode": mode}))
        if row.default_values.filter(field=field).exists():
            raise FieldsRefused({"field": [_("There is a value for this field already. Change that one.")]})
        default.save(force_insert=True)
        made.append(default)
        return [Event("automation.default_added", {"field": default.field, "mode": default.mode})]

    row = change(automation, how, user=user, version=version)
    made[0].automation = row
    return made[0]


def edit_default(
    default: DefaultValue, *, user: User | None, version: int | None = None, **changes: Any
) -> DefaultValue:
    """Change ``value`` or ``mode``. Raises FieldsRefused, ReferenceNotFound, and as `add_default` does."""
    changed: list[DefaultValue] = []

    def how(row: Automation) -> list[Event]:
        now = _default_of(row, default)
        changed.append(now)
        before = {name: getattr(now, name) for name in ("value", "mode")}
        _apply(now, changes)
        names = [name for name, value in before.items() if getattr(now, name) != value]
        if not names:
            return []
        now.updated_at = clock.now()
        now.save()
        return [Event("automation.default_edited", {"field": now.field, "fields": names})]

    row = change(default.automation, how, user=user, version=version)
    changed[0].automation = row
    return changed[0]


def remove_default(default: DefaultValue, *, user: User | None, version: int | None = None) -> Automation:
    """Write nothing into that field any more; what was written stays. Raises as `edit_default` does."""

    def how(row: Automation) -> list[Event]:
        now = _default_of(row, default)
        now.delete()
        return [Event("automation.default_removed", {"field": now.field})]

    return change(default.automation, how, user=user, version=version)


def new_default(automation: Automation, fields: dict[str, Any]) -> DefaultValue:
    """A default value of ``automation`` that is not saved yet: `field`, `value`, `mode`. Raises FieldsRefused."""
    field = fields.get("field")
    if field not in Field.values:
        raise FieldsRefused({"field": [_("Choose one of: %(known)s.") % {"known": ", ".join(Field)}]})
    alone = DefaultValue.Mode.ALWAYS if field in DefaultValue.ALWAYS_ONLY else DefaultValue.Mode.UNTOUCHED
    default = DefaultValue(automation=automation, field=field, mode=alone)
    _apply(default, {"value": None, **{name: value for name, value in fields.items() if name != "field"}})
    return default


def _default_of(automation: Automation, default: DefaultValue) -> DefaultValue:
    found = DefaultValue.objects.filter(automation=automation, pk=default.pk).first()
    if found is None:
        raise ReferenceNotFound("default_value", _("This default value was deleted meanwhile."))
    return found


def _apply(default: DefaultValue, changes: dict[str, Any]) -> None:
    """Set what is said in memory. Raises FieldsRefused with all reasons."""
    if unknown := sorted(set(changes) - {"value", "mode"}):
        raise FieldsRefused({name: [_("There is no such field to change.")] for name in unknown})
    problems: dict[str, list[str]] = {}
    mode = changes.get("mode", default.mode)
    if mode not in DefaultValue.Mode.values:
        problems["mode"] = [_("Choose one of: %(known)s.") % {"known": ", ".join(DefaultValue.Mode)}]
    elif mode != DefaultValue.Mode.ALWAYS and default.field in DefaultValue.ALWAYS_ONLY:
        problems["mode"] = [_("A work always says something here, so this can only be “always”.")]
    if "value" in changes:
        try:
            default.value = checked_value(Field(default.field), changes["value"])
        except FieldsRefused as error:
            problems |= error.details
    if problems:
        raise FieldsRefused(problems)
    default.mode = mode


# --- what a value may be ---------------------------------------------------------------------------------------------
def checked_value(field: DefaultValue.Field, value: Any) -> Any:
    """``value`` as a work would keep it in ``field``, as JSON. Raises FieldsRefused, of `value`."""
    fits, wanted = _TYPES[field]
    if not fits(value):
        raise FieldsRefused({"value": [str(wanted)]})
    if not all(_can_be_kept(text) for text in _texts_of(value)):
        raise FieldsRefused({"value": [_("Null characters and halves of characters are not allowed.")]})
    try:
        if field == Field.GALLERY_IDS:
            value = [_gallery_id(one) for one in value]
        kept = checked_words({field.value: value})[field.value]
    except DeviationError as error:
        raise FieldsRefused({"value": error.details[field.value]}) from error
    if kept is None or (field == Field.TITLE and not kept):
        raise FieldsRefused({"value": [_("This may not be empty. Without a default value nothing is written.")]})
    if field in _WITH_VARIABLES and (wrong := [reason for text in _texts_of(kept) for reason in problems_of(text)]):
        raise FieldsRefused({"value": wrong})
    return [str(one) for one in kept] if field == Field.GALLERY_IDS else kept


def _gallery_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        message = _("“%(value)s” is no id of a gallery.") % {"value": text[:50]}
        raise FieldsRefused({"value": [message]}) from error


# Those that become text for each draft anew.
_WITH_VARIABLES = (Field.TITLE, Field.DESCRIPTION, Field.TAGS)


def _can_be_kept(text: str) -> bool:
    """Whether PostgreSQL takes it."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _texts_of(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


YES_OR_NO = (
    Field.IS_MATURE,
    Field.ALLOW_COMMENTS,
    Field.ALLOW_FREE_DOWNLOAD,
    Field.IS_AI_GENERATED,
    Field.NO_AI,
    Field.ADD_WATERMARK,
    Field.STASH_ONLY,
    Field.KEEP_METADATA,
)
_TYPES: dict[DefaultValue.Field, tuple[Callable[[Any], bool], Any]] = {
    **dict.fromkeys(
        [Field.TITLE, Field.DESCRIPTION, Field.MATURE_LEVEL, Field.UPLOAD_MODE],
        (lambda value: isinstance(value, str), gettext_lazy("Send a text.")),
    ),
    **dict.fromkeys(
        [Field.TAGS, Field.GALLERY_IDS, Field.MATURE_CLASSIFICATION],
        (_is_list_of_texts, gettext_lazy("Send a list of texts.")),
    ),
    **dict.fromkeys(
        YES_OR_NO,
        (lambda value: isinstance(value, bool), gettext_lazy("Send true or false.")),
    ),
    # True and False are numbers too.
    Field.DISPLAY_RESOLUTION: (lambda value: type(value) is int, gettext_lazy("Send a whole number, 0 to 8.")),
}
