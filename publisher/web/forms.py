"""What comes from browsers about decisions, checked before any service sees it."""

from typing import Any

from django import forms

from deviantart.addresses import MAX_LENGTH
from deviations.web.forms import IdsField
from publisher.services.deciding import Way


class WayForm(forms.Form):
    """How undecided works go on, and the word of whoever says so that they are not live."""

    way = forms.ChoiceField(choices=Way.choices)
    not_live = forms.BooleanField(required=False)

    def said(self) -> dict[str, Any]:
        """The keywords for ``decide_many``, but those of a time."""
        return {"way": Way(self.cleaned_data["way"]), "not_live": self.cleaned_data["not_live"]}


class ManyForm(WayForm):
    work = IdsField()


class LiveForm(forms.Form):
    url = forms.CharField(required=False, max_length=MAX_LENGTH)
    file = forms.UUIDField(required=False)
    by_hand = forms.BooleanField(required=False)
