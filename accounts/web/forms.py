from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.models.users import validate_time_zone


class SignInForm(AuthenticationForm):
    """For whoever has a password here; most people sign in with DeviantArt."""

    error_messages = {
        # The same words for an unknown name, a wrong password and somebody whose access was taken away.
        "invalid_login": _("This name and this password do not belong together. Both care about capital letters."),
        "inactive": _("This name and this password do not belong together. Both care about capital letters."),
    }


class ThemeForm(forms.Form):
    theme = forms.ChoiceField(choices=User.Theme.choices)


class TimeZoneForm(forms.Form):
    time_zone = forms.CharField(max_length=64, validators=[validate_time_zone])
    # The zone of which the page has shown what it moves.
    confirm_moves = forms.CharField(max_length=64, required=False)

    @property
    def is_confirmed(self) -> bool:
        return bool(self.cleaned_data["confirm_moves"] == self.cleaned_data["time_zone"])
