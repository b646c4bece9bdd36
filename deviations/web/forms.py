"""What comes from browsers, checked before any service sees it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount, User
from deviantart.rules import MatureClassification
from deviations.models import Deviation
from deviations.services.changing import BULK_MAX
from deviations.services.scheduling import JITTER_MAX_SECONDS
from deviations.services.wall_time import wall_time_of
from isekai import clock

MATURE_WORDS = {
    MatureClassification.NUDITY: _("Nudity"),
    MatureClassification.SEXUAL: _("Sexual themes"),
    MatureClassification.GORE: _("Violence or gore"),
    MatureClassification.LANGUAGE: _("Strong language"),
    MatureClassification.IDEOLOGY: _("Ideologically sensitive"),
}
# How a box stands for a field that the artist never touched; the field stays untouched until the box is changed.
WHEN_UNTOUCHED = {"allow_comments": True}
BOXES = [
    "is_mature",
    "allow_comments",
    "allow_free_download",
    "is_ai_generated",
    "no_ai",
    "add_watermark",
    "stash_only",
    "keep_metadata",
]


class TagsField(forms.Field):
    """`moth, tea` as a list, in the order in which it was written."""

    def to_python(self, value: Any) -> list[str]:
        text = str(value or "")
        tags = (" ".join(tag.split()).lstrip("#") for tag in text.replace("\n", ",").split(","))
        return list(dict.fromkeys(tag for tag in tags if tag))

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return (initial or []) != self.to_python(data)


class IdsField(forms.Field):
    """Several ids under one name; at least one, at most 500."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[UUID]:
        try:
            return [UUID(one) for one in value or []]
        except ValueError as error:
            raise ValidationError(_("There is no such work.")) from error

    def validate(self, value: Any) -> None:
        if not value:
            raise ValidationError(_("Pick at least one work."))
        if len(value) > BULK_MAX:
            raise ValidationError(_("At most %(most)s works at once."), params={"most": BULK_MAX})


class WordsForm(forms.Form):
    """What an artist says about a work. Only what was changed is taken over: see ``changes``."""

    title = forms.CharField(required=False, max_length=200)
    description = forms.CharField(required=False, strip=False)
    tags = TagsField(required=False)
    account_id = forms.ModelChoiceField(DeviantArtAccount.objects.none(), required=False, empty_label=_("Choose one"))
    upload_mode = forms.ChoiceField(choices=Deviation.UploadMode, required=False)
    is_mature = forms.BooleanField(required=False)
    mature_level = forms.ChoiceField(choices=[("", _("Choose one")), *Deviation.MatureLevel.choices], required=False)
    mature_classification = forms.MultipleChoiceField(choices=list(MATURE_WORDS.items()), required=False)
    allow_comments = forms.BooleanField(required=False)
    allow_free_download = forms.BooleanField(required=False)
    is_ai_generated = forms.BooleanField(required=False)
    no_ai = forms.BooleanField(required=False)
    add_watermark = forms.BooleanField(required=False)
    display_resolution = forms.TypedChoiceField(
        choices=Deviation.DisplayResolution, required=False, coerce=int, empty_value=None
    )
    stash_only = forms.BooleanField(required=False)
    keep_metadata = forms.BooleanField(required=False)
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)

    def __init__(self, data: MultiValueDict | None, *, work: Deviation, user: User) -> None:
        super().__init__(data, initial=_as_shown(work))
        accounts = cast(forms.ModelChoiceField, self.fields["account_id"])
        # The one that was chosen stays a choice, also while it is disconnected.
        is_choice = ~Q(state=DeviantArtAccount.State.DISCONNECTED) | Q(pk=work.account_id)
        accounts.queryset = DeviantArtAccount.objects.owned_by(user).filter(is_choice).order_by("username", "pk")

    def changes(self) -> dict[str, Any]:
        """The fields that are different from what the work says, with the values that ``edit_deviation`` takes."""
        # A box that is off is not sent at all, and what cannot be changed at the moment is not either.
        boxes = {*BOXES, "mature_classification"}
        sent = [name for name in self.changed_data if name in boxes or self.data.get(name) is not None]
        changed = {name: self.cleaned_data[name] for name in sent if name != "version"}
        if "account_id" in changed:
            changed["account_id"] = changed["account_id"].pk if changed["account_id"] else None
        for name in ("mature_level", "mature_classification"):
            if name in changed:
                changed[name] = changed[name] or None
        return changed


def _as_shown(work: Deviation) -> dict[str, Any]:
    values = {name: getattr(work, name) for name in WordsForm.base_fields if name != "account_id"}
    for name in BOXES:
        if values[name] is None:
            values[name] = WHEN_UNTOUCHED.get(name, False)
    values["description"] = values["description"] or ""
    values["mature_level"] = values["mature_level"] or ""
    values["mature_classification"] = values["mature_classification"] or []
    values["display_resolution"] = values["display_resolution"] or 0
    return values | {"account_id": work.account_id}


class WhenForm(forms.Form):
    """A day and a time on the clocks of whoever schedules; ``fold`` answers which of two equal times is meant."""

    day = forms.DateField(error_messages={"required": _("Choose a day."), "invalid": _("Choose a day.")})
    time = forms.TimeField(error_messages={"required": _("Choose a time."), "invalid": _("Choose a time.")})
    fold = forms.TypedChoiceField(choices=[("0", "0"), ("1", "1")], required=False, coerce=int, empty_value=None)
    jitter = forms.TypedChoiceField(
        choices=[
            (0, _("Exactly then")),
            (900, _("Up to 15 minutes later, at random")),
            (JITTER_MAX_SECONDS, _("Up to an hour later, at random")),
        ],
        required=False,
        empty_value="0",
    )

    # Filled when a time comes twice on that day: both, to choose from.
    choices: list[Mapping[str, Any]]

    def __init__(self, data: MultiValueDict | None = None, *, user: User, work: Deviation | None = None) -> None:
        self.zone = user.time_zone
        local = _suggested(work, user.time_zone)
        super().__init__(data, initial={"day": local.date(), "time": f"{local:%H:%M}", "jitter": 0})
        self.choices = []

    def wish(self) -> dict[str, Any]:
        """The keywords for ``schedule_deviation`` and ``schedule_many``."""
        return {
            "local": datetime.combine(self.cleaned_data["day"], self.cleaned_data["time"]),
            "zone": self.zone,
            "fold": self.cleaned_data["fold"],
            "jitter_max_seconds": int(self.cleaned_data["jitter"]),
        }


def _suggested(work: Deviation | None, zone: str) -> datetime:
    """The work's own time while it lies ahead, else the next full hour that leaves ten minutes to think."""
    if work is not None and work.scheduled_at is not None and work.scheduled_at > clock.now():
        return wall_time_of(work.scheduled_at, zone)
    soon = wall_time_of(clock.now() + timedelta(minutes=70), zone)
    return soon.replace(minute=0, second=0, microsecond=0)


class PickedForm(forms.Form):
    work = IdsField()


class UploadForm(forms.Form):
    upload = forms.UUIDField()


class MoveForm(forms.Form):
    step = forms.TypedChoiceField(choices=[("-1", "-1"), ("1", "1")], coerce=int)


def sentences(errors: Mapping[str, Any]) -> str:
    """Every reason in one text, for a toast."""
    return " ".join(str(message) for messages in errors.values() for message in messages)
