"""What pages of DEBUG show, which only development has."""

from typing import Any

from django.views.debug import SafeExceptionReporterFilter

from isekai.logging import SecretsHidden


class SecretsFilter(SafeExceptionReporterFilter):
    """Hides what Django hides by the name of a setting, and passwords inside addresses too."""

    _hide = SecretsHidden()

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return self._hide.text(cleansed) if isinstance(cleansed, str) else cleansed
