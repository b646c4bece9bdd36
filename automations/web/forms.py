"""What comes from browsers about automations, checked before any service sees it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, time
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import DeviantArtAccount, User
from automations import slots
from automations.errors import CronRefused
from automations.models import Automation, Blackout, DefaultValue, ScheduleRule
from automations.models.automations import CATCH_UP_MAX_SECONDS, JITTER_MAX_SECONDS
from automations.services.defaults import YES_OR_NO
from automations.services.editing import DefaultSaid, RuleSaid
from automations.services.saving import UNMIXED, WEIGHT_MAX
from deviations.models import Deviation
from deviations.services.drafting import DESCRIPTION_MAX_LENGTH
from deviations.web.forms import MATURE_WORDS, TagsField
from deviations.web.moments import zone_choices, zone_place

Type, Field, Mode = ScheduleRule.Type, DefaultValue.Field, DefaultValue.Mode

MINUTE, HOUR, DAY = 1, 60, 24 * 60
UNITS = [(MINUTE, gettext_lazy("minutes")), (HOUR, gettext_lazy("hours")), (DAY, gettext_lazy("days"))]
# Colours that stand out on both grounds.
PALETTE = ["#c2410c", "#b45309", "#4d7c0f", "#0f766e", "#0369a1", "#6d28d9", "#be185d", "#57534e"]


def _attrs(css: str = "", **attrs: Any) -> dict[str, Any]:
    return {"class": f"input {css}".strip(), **{name.replace("_", "-"): value for name, value in attrs.items()}}


def _day(**options: Any) -> forms.DateField:
    widget = forms.DateInput(attrs=_attrs("num", type="date"), format="%Y-%m-%d")
    return forms.DateField(required=False, widget=widget, **options)


def _time(label: Any, **options: Any) -> forms.TimeField:
    widget = forms.TimeInput(attrs=_attrs("num", type="time", step=60, aria_label=label), format="%H:%M")
    return forms.TimeField(required=False, label=label, widget=widget, **options)


def _number(label: Any, *, least: int = 0, css: str = "num short", **options: Any) -> forms.IntegerField:
    widget = forms.NumberInput(attrs=_attrs(css, min=least, aria_label=label))
    return forms.IntegerField(required=False, label=label, widget=widget, **options)


def _minutes_field(label: Any, *, most: int) -> forms.FloatField:
    """Minutes, parts of them included, of what is kept in seconds; ``most`` is in seconds."""
    widget = forms.NumberInput(attrs=_attrs("num short", aria_label=label, step="any"))
    return forms.FloatField(required=False, label=label, min_value=0, max_value=most / 60, widget=widget)


def _choice(choices: Any, **options: Any) -> forms.ChoiceField:
    widget = forms.Select(attrs=_attrs())
    return forms.ChoiceField(choices=choices, required=False, widget=widget, **options)


class Part(forms.Form):
    """A part of the editor. Its services name some fields otherwise; ``NAMES`` has by their names ours."""

    NAMES: Mapping[str, str] = {}

    def note(self, details: Mapping[str, Any]) -> None:
        """Put what a service refused to its fields."""
        for name, reasons in details.items():
            field = self.NAMES.get(name, name)
            texts = [str(reason) for reason in reasons] if isinstance(reasons, (list, tuple)) else [str(reasons)]
            self.add_error(field if field in self.fields else None, texts)

    def as_typed(self) -> dict[str, Any]:
        """What was sent, as the values of a form that is not checked yet."""
        return {name: self[name].data for name in self.fields}


# --- the automation itself -------------------------------------------------------------------------------------------
class AutomationForm(Part):
    NAMES = {
        "jitter_min_seconds": "jitter_min",
        "jitter_max_seconds": "jitter_max",
        "catch_up_seconds": "catch_up",
        "mixture": "weight_fifo",
    }

    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs=_attrs(dir="auto", autocomplete="off")),
        error_messages={"required": gettext_lazy("Give it a name.")},
    )
    description = forms.CharField(
        required=False, max_length=500, widget=forms.TextInput(attrs=_attrs(dir="auto", autocomplete="off"))
    )
    icon = forms.CharField(required=False, max_length=10, widget=forms.TextInput(attrs=_attrs("short")))
    color = forms.CharField(required=False, max_length=7)
    combine = forms.ChoiceField(choices=Automation.Combine, required=False)
    account_id = forms.ModelChoiceField(
        DeviantArtAccount.objects.none(),
        required=False,
        empty_label=gettext_lazy("Where each draft says"),
        widget=forms.Select(attrs=_attrs()),
    )
    zone = _choice([])
    valid_from, valid_until = _day(), _day()
    method = _choice(Automation.Method)
    weight_fifo = _number(gettext_lazy("Oldest first"))
    weight_lifo = _number(gettext_lazy("Newest first"))
    weight_random = _number(gettext_lazy("By chance"))
    weight_priority = _number(gettext_lazy("As I sorted them"))
    weight_title = _number(gettext_lazy("By title"))
    filter_tags = TagsField(
        required=False,
        label=gettext_lazy("Only with these tags"),
        widget=forms.TextInput(attrs=_attrs(dir="auto", data_tags="tagfield", autocomplete="off")),
    )
    filter_tags_match = _choice(Automation.TagsMatch)
    filter_min_age_days = _number(gettext_lazy("At least so many days old"), css="num")
    filter_max_age_days = _number(gettext_lazy("At most so many days old"), css="num")
    filter_mature = _choice(Automation.Mature)
    filter_orientation = _choice(Automation.Orientation)
    spacing = _choice(Automation.Spacing)
    jitter_min = _minutes_field(gettext_lazy("Least delay in minutes"), most=JITTER_MAX_SECONDS)
    jitter_max = _minutes_field(gettext_lazy("Most delay in minutes"), most=JITTER_MAX_SECONDS)
    catch_up = _minutes_field(gettext_lazy("Made up for within (minutes)"), most=CATCH_UP_MAX_SECONDS)
    counter = _number(gettext_lazy("Next number"), css="num short")
    stash_only = forms.BooleanField(required=False)
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    confirm_moves = forms.BooleanField(required=False)

    def __init__(self, data: Any = None, *, automation: Automation, user: User, initial: Any = None) -> None:
        super().__init__(data, initial=initial or _as_shown(automation))
        self.automation, self.user = automation, user
        accounts = cast(forms.ModelChoiceField, self.fields["account_id"])
        # The one that was chosen stays a choice, also while it is disconnected.
        is_choice = ~Q(state=DeviantArtAccount.State.DISCONNECTED) | Q(pk=automation.account_id)
        of_workspace = DeviantArtAccount.objects.owned_by(user).filter(is_choice, workspace=automation.workspace_id)
        accounts.queryset = of_workspace.order_by("username", "pk")
        mine = _("Yours, at the moment %(place)s") % {"place": zone_place(user.zone)}
        cast(forms.ChoiceField, self.fields["zone"]).choices = [("", mine), *zone_choices()]

    @property
    def weights(self) -> list[forms.BoundField]:
        return [self[f"weight_{method.value}"] for method in UNMIXED]

    @property
    def colors(self) -> list[str]:
        """The palette, and the one that it has."""
        own = self["color"].value()
        return [*PALETTE, *([own] if own and own not in PALETTE else [])]

    def said(self) -> dict[str, Any]:
        """The fields of `saving.SAID` that the page has."""
        said = dict(self.cleaned_data)
        del said["version"], said["confirm_moves"]
        weights = {method: said.pop(f"weight_{method.value}") for method in UNMIXED}
        said["account_id"] = said["account_id"].pk if said["account_id"] else None
        said["jitter_min_seconds"] = round((said.pop("jitter_min") or 0) * 60)
        said["jitter_max_seconds"] = round((said.pop("jitter_max") or 0) * 60)
        said["catch_up_seconds"] = round((said.pop("catch_up") or 0) * 60)
        said["counter"] = 0 if said["counter"] is None else said["counter"]
        for name in ("combine", "method", "filter_tags_match", "filter_mature", "filter_orientation", "spacing"):
            said[name] = said[name] or getattr(self.automation, name)
        if said["method"] == Automation.Method.MIXTURE:
            said["mixture"] = [
                {"method": method.value, "weight": weight} for method, weight in weights.items() if weight
            ]
        return said

    def clean(self) -> dict[str, Any]:
        said = super().clean() or self.cleaned_data
        weights = [said.get(f"weight_{method.value}") or 0 for method in UNMIXED]
        if said.get("method") == Automation.Method.MIXTURE and not any(weights):
            self.add_error("weight_fifo", _("Give at least one way a share."))
        if max(weights) > WEIGHT_MAX:
            self.add_error("weight_fifo", _("A share is at most %(most)s.") % {"most": WEIGHT_MAX})
        return said


def _as_shown(automation: Automation) -> dict[str, Any]:
    values = {name: getattr(automation, name, None) for name in AutomationForm.base_fields}
    weights = {part["method"]: part["weight"] for part in automation.mixture or []}
    values |= {f"weight_{method.value}": weights.get(method.value) for method in UNMIXED}
    return values | {
        "account_id": automation.account_id,
        "jitter_min": _minutes(automation.jitter_min_seconds),
        "jitter_max": _minutes(automation.jitter_max_seconds),
        "catch_up": _minutes(automation.catch_up_seconds),
    }


def _minutes(seconds: int) -> float | int:
    return seconds // 60 if seconds % 60 == 0 else seconds / 60


# --- rules -----------------------------------------------------------------------------------------------------------
class TimesField(forms.CharField):
    """`9, 18:30` as times of a day."""

    def to_python(self, value: Any) -> Any:
        texts = [text.strip() for text in str(value or "").replace(";", ",").replace("\n", ",").split(",")]
        return [self._time(text) for text in texts if text]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(f"{each:%H:%M}" for each in value) if isinstance(value, list) else value

    def _time(self, text: str) -> time:
        hour, _colon, minute = text.partition(":")
        try:
            return time(int(hour), int(minute or 0))
        except ValueError as error:
            message = _("“%(text)s” is no time of day. Write times like 9, 18:30.")
            raise ValidationError(message, params={"text": text}) from error


def _of_a_day(day: int) -> TimesField:
    name = WEEKDAYS[day]
    return TimesField(
        required=False,
        label=name,
        widget=forms.TextInput(attrs=_attrs("num", aria_label=name, autocomplete="off", inputmode="text")),
    )


class RuleForm(Part):
    NAMES = {"interval_minutes": "every", "week": "week_0", "week_minutes": "week_0"}

    type = forms.ChoiceField(choices=Type, widget=forms.HiddenInput)
    enabled = forms.BooleanField(required=False)
    time_of_day = _time(gettext_lazy("Time"))
    every = _number(gettext_lazy("Number"), least=1)
    unit = forms.TypedChoiceField(
        choices=UNITS,
        required=False,
        coerce=int,
        empty_value=str(MINUTE),
        widget=forms.Select(attrs=_attrs(aria_label=gettext_lazy("Unit"))),
    )
    anchor_local = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs=_attrs("num", type="datetime-local"), format="%Y-%m-%dT%H:%M"),
        input_formats=["%Y-%m-%dT%H:%M"],
    )
    quota = _number(gettext_lazy("Works a day"), least=1)
    window_start, window_end = _time(gettext_lazy("From")), _time(gettext_lazy("Until"))
    weekdays = forms.TypedMultipleChoiceField(choices=list(WEEKDAYS.items()), required=False, coerce=int)
    week_0, week_1, week_2 = _of_a_day(0), _of_a_day(1), _of_a_day(2)
    week_3, week_4, week_5, week_6 = _of_a_day(3), _of_a_day(4), _of_a_day(5), _of_a_day(6)
    cron = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs=_attrs("mono", aria_label=gettext_lazy("Cron expression"), autocomplete="off", spellcheck="false")
        ),
    )
    works_per_slot = _number(gettext_lazy("Works at once"), least=1)
    quiet_hours = _number(gettext_lazy("Hours of quiet"), least=1)
    max_per_week = _number(gettext_lazy("At most a week"), least=1)
    min_drafts_left = _number(gettext_lazy("Drafts left"), least=1)
    priority = forms.IntegerField(
        required=False, label=gettext_lazy("Priority"), widget=forms.NumberInput(attrs=_attrs("num short"))
    )
    valid_from, valid_until = _day(), _day()
    on_blackout = _choice([("", gettext_lazy("As the holidays say")), *ScheduleRule.OnBlackout.choices])

    def __init__(self, data: Any = None, *, rule_id: UUID, initial: Any = None) -> None:
        super().__init__(data, prefix=f"rule-{rule_id}", initial=initial)
        self.rule_id = rule_id

    @classmethod
    def of(cls, rule: ScheduleRule) -> "RuleForm":
        values = {name: getattr(rule, name, None) for name in cls.base_fields}
        if rule.interval_minutes is not None:
            unit = next(size for size, _word in reversed(UNITS) if rule.interval_minutes % size == 0)
            values |= {"every": rule.interval_minutes // unit, "unit": unit}
        values["weekdays"] = list(range(7)) if rule.weekdays is None else rule.weekdays
        values["on_blackout"] = rule.on_blackout or ""
        for minute in rule.week_minutes or ():
            day, of_day = divmod(minute, DAY)
            values[f"week_{day}"] = [*(values[f"week_{day}"] or []), time(*divmod(of_day, HOUR))]
        return cls(rule_id=rule.pk, initial=values)

    @property
    def kind(self) -> str:
        return str(self["type"].value())

    @property
    def label(self) -> str:
        return str(Type(self.kind).label)

    @property
    def is_known(self) -> bool:
        return self.kind in Type.values

    @property
    def week(self) -> list[forms.BoundField]:
        return [self[f"week_{day}"] for day in range(7)]

    @property
    def days(self) -> list[tuple[int, str, bool]]:
        """Number, name, and whether the rule has it."""
        chosen = {str(day) for day in self["weekdays"].value() or ()}
        return [(day, str(name), str(day) in chosen) for day, name in WEEKDAYS.items()]

    @property
    def said_fields(self) -> list[forms.BoundField]:
        """Those of its sentence; errors of the others stand beside them."""
        names = ("time_of_day", "every", "quota", "window_start", "window_end", "weekdays", "cron", "works_per_slot")
        return [self[name] for name in names]

    @property
    def explained(self) -> str:
        """A cron expression in words."""
        try:
            return slots.explain_cron(str(self["cron"].value() or ""))
        except CronRefused:
            return ""

    @property
    def has_more(self) -> bool:
        """Whether anything is said in the part that is folded, so that it is open."""
        folded = ("quiet_hours", "max_per_week", "min_drafts_left", "valid_from", "valid_until", "on_blackout")
        wrong = any(self[name].errors for name in (*folded, "priority", "anchor_local"))
        return wrong or any(self[name].value() for name in folded)

    def said(self) -> RuleSaid:
        """The fields of `rules.SAID` that rules of this type have."""
        kind, values = Type(self.cleaned_data["type"]), self.cleaned_data
        has = {*ScheduleRule.NEEDS[kind], *ScheduleRule.MAY_HAVE[kind]}
        common = ("enabled", "valid_from", "valid_until", "quiet_hours", "max_per_week", "min_drafts_left")
        fields: dict[str, Any] = {"type": kind.value, **{name: values[name] for name in common}}
        fields |= {name: values[name] for name in ("time_of_day", "quota", "window_start", "window_end") if name in has}
        fields["priority"] = values["priority"] or 0
        fields["on_blackout"] = values["on_blackout"] or None
        if kind != Type.DAILY_QUOTA:
            fields["works_per_slot"] = values["works_per_slot"] or 1
        if "cron" in has:
            fields["cron"] = values["cron"]
        if "interval_minutes" in has:
            fields["interval_minutes"] = (values["every"] or 0) * int(values["unit"])
            # Left empty it stays, or is found out.
            if values["anchor_local"] is not None:
                fields["anchor_local"] = _naive(values["anchor_local"])
        if "weekdays" in has:
            fields["weekdays"] = None if len(values["weekdays"]) == 7 else values["weekdays"]
        if "week_minutes" in has:
            fields["week"] = {day: values[f"week_{day}"] for day in range(7) if values[f"week_{day}"]}
        return RuleSaid(self.rule_id, fields)


def _naive(moment: datetime) -> datetime:
    """As it stands on the wall: what a form reads is taken to be in the server's zone."""
    return moment.replace(tzinfo=None)


# What a rule says when it is new, by its type: something to begin with.
BEGINNINGS: dict[str, dict[str, Any]] = {
    Type.FIXED_TIME: {"time_of_day": time(18)},
    Type.WEEKDAY_SLOTS: {f"week_{day}": [time(18)] for day in range(5)},
    Type.DAILY_QUOTA: {"quota": 2, "window_start": time(10), "window_end": time(22)},
    Type.TIME_WINDOW: {"window_start": time(14), "window_end": time(20)},
    Type.FIXED_INTERVAL: {"every": 36, "unit": HOUR, "window_start": time(10), "window_end": time(23)},
    Type.CRON: {"cron": "0 18 * * MON-FRI"},
}


def new_rule_form(kind: str, rule_id: UUID) -> RuleForm:
    common = {"type": kind, "enabled": True, "works_per_slot": 1, "weekdays": list(range(7)), "unit": HOUR}
    return RuleForm(rule_id=rule_id, initial=common | BEGINNINGS[kind])


# --- default values --------------------------------------------------------------------------------------------------
_YES_NO = [("yes", gettext_lazy("Yes")), ("no", gettext_lazy("No"))]
# A text with variables, in which the artist's own words may stand.
WITH_VARIABLES = (Field.TITLE, Field.DESCRIPTION, Field.TAGS)
# What has no place to be chosen from yet.
NOT_OFFERED = (Field.GALLERY_IDS,)


def _value_field(name: str) -> forms.Field:
    match name:
        case Field.TITLE:
            return forms.CharField(required=False, widget=forms.TextInput(attrs=_attrs("title", dir="auto")))
        case Field.DESCRIPTION:
            return forms.CharField(
                required=False,
                strip=False,
                max_length=DESCRIPTION_MAX_LENGTH,
                widget=forms.Textarea(attrs=_attrs(dir="auto", rows=3)),
            )
        case Field.TAGS:
            attrs = _attrs(dir="auto", data_tags="tagfield", autocomplete="off")
            return TagsField(required=False, widget=forms.TextInput(attrs=attrs))
        case Field.GALLERY_IDS:
            return TagsField(required=False, widget=forms.HiddenInput)
        case Field.MATURE_LEVEL:
            return _choice(Deviation.MatureLevel.choices)
        case Field.UPLOAD_MODE:
            return _choice(Deviation.UploadMode.choices)
        case Field.MATURE_CLASSIFICATION:
            return forms.MultipleChoiceField(
                choices=list(MATURE_WORDS.items()), required=False, widget=forms.CheckboxSelectMultiple
            )
        case Field.DISPLAY_RESOLUTION:
            return forms.TypedChoiceField(
                choices=Deviation.DisplayResolution.choices,
                required=False,
                coerce=int,
                empty_value=None,
                widget=forms.Select(attrs=_attrs()),
            )
    return forms.ChoiceField(choices=_YES_NO, required=False, widget=forms.Select(attrs=_attrs()))


class DefaultForm(Part):
    """What is written into one field of drafts."""

    NAMES = {"field": "value"}

    mode = forms.ChoiceField(
        choices=Mode, required=False, widget=forms.Select(attrs=_attrs(aria_label=gettext_lazy("When")))
    )

    def __init__(self, data: Any = None, *, name: str, initial: Any = None) -> None:
        super().__init__(data, prefix=f"default-{name}", initial=initial)
        self.name = Field(name)
        self.fields["value"] = _value_field(name)
        label = str(self.name.label)
        self.fields["value"].widget.attrs["aria-label"] = label
        if self.name in DefaultValue.ALWAYS_ONLY:
            cast(forms.ChoiceField, self.fields["mode"]).choices = [(Mode.ALWAYS.value, Mode.ALWAYS.label)]

    @classmethod
    def of(cls, default: DefaultValue) -> "DefaultForm":
        value = default.value
        return cls(
            name=default.field,
            initial={
                "mode": default.mode,
                "value": {True: "yes", False: "no"}[value] if type(value) is bool else value,
            },
        )

    @property
    def label(self) -> str:
        return str(self.name.label)

    @property
    def has_variables(self) -> bool:
        return self.name in WITH_VARIABLES

    def said(self) -> DefaultSaid:
        value = self.cleaned_data["value"]
        if self.name in YES_OR_NO:
            value = value == "yes"
        elif isinstance(value, str):
            # As a browser ends lines.
            value = value.replace("\r\n", "\n")
        alone = Mode.ALWAYS if self.name in DefaultValue.ALWAYS_ONLY else Mode.UNTOUCHED
        return DefaultSaid(self.name.value, value, self.cleaned_data["mode"] or alone.value)


def new_default_form(name: str) -> DefaultForm:
    alone = Mode.ALWAYS if name in DefaultValue.ALWAYS_ONLY else Mode.UNTOUCHED
    return DefaultForm(name=name, initial={"mode": alone.value})


# --- the rest --------------------------------------------------------------------------------------------------------
class NewForm(forms.Form):
    """A name, and how it begins."""

    name = forms.CharField(
        max_length=100,
        widget=forms.TextInput(attrs=_attrs(dir="auto", autocomplete="off", autofocus=True)),
        error_messages={"required": gettext_lazy("Give it a name.")},
    )
    type = forms.ChoiceField(choices=Type, initial=Type.FIXED_TIME)

    def note(self, details: Mapping[str, Iterable[Any]]) -> None:
        for name, reasons in details.items():
            self.add_error(name if name in self.fields else None, [str(reason) for reason in reasons])


class HolidaysForm(forms.Form):
    account = forms.ModelChoiceField(
        DeviantArtAccount.objects.none(), empty_label=None, widget=forms.Select(attrs=_attrs())
    )
    name = forms.CharField(required=False, max_length=100, widget=forms.TextInput(attrs=_attrs(dir="auto")))
    from_date = forms.DateField(
        widget=forms.DateInput(attrs=_attrs("num", type="date"), format="%Y-%m-%d"),
        error_messages={"required": gettext_lazy("Choose a day.")},
    )
    until_date = forms.DateField(
        widget=forms.DateInput(attrs=_attrs("num", type="date"), format="%Y-%m-%d"),
        error_messages={"required": gettext_lazy("Choose a day.")},
    )
    handling = forms.ChoiceField(choices=Blackout.Handling, widget=forms.Select(attrs=_attrs()))

    def __init__(self, data: Any = None, *, accounts: Any) -> None:
        super().__init__(data, auto_id="holidays_%s", initial={"account": accounts.first()})
        cast(forms.ModelChoiceField, self.fields["account"]).queryset = accounts

    def note(self, details: Mapping[str, Iterable[Any]]) -> None:
        for name, reasons in details.items():
            self.add_error(name if name in self.fields else None, [str(reason) for reason in reasons])
