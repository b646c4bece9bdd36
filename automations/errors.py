"""Why an automation could not do what was asked of it."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from isekai.errors import IsekaiError


class AutomationError(IsekaiError):
    code = "automation_error"


class FieldsRefused(AutomationError):
    """Values that cannot be stored as they are; ``details`` has every reason, by field."""

    code = "invalid"
    status = 400

    def __init__(self, details: Mapping[str, Any]) -> None:
        super().__init__(_("Some fields cannot be used as they are."), details=details)


class ReferenceNotFound(AutomationError):
    """An id inside the request names nothing that the caller has; ``details`` says in which field."""

    code = "not_found"
    status = 404

    def __init__(self, field: str, message: str | Promise) -> None:
        super().__init__(message, details={field: [message]})


class Gone(AutomationError):
    """The automation was deleted since the caller read it."""

    code = "not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__(_("This automation was deleted meanwhile."))


class ConfirmationNeeded(AutomationError):
    """What was asked moves slots; ``details`` names the field that says *do it*, with the question, and the moves."""

    code = "confirmation_needed"
    status = 409

    def __init__(self, field: str, message: str | Promise, **details: Any) -> None:
        super().__init__(message, details={field: [message], **details})


class VersionConflict(AutomationError):
    """The automation was changed since the caller read it."""

    code = "version_conflict"
    status = 412

    def __init__(self) -> None:
        super().__init__(_("This automation was changed elsewhere meanwhile. Load it again and repeat your change."))


class Running(AutomationError):
    """The automation is scheduling drafts at this moment. Nothing was changed."""

    code = "running"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This automation is scheduling works at this moment. Try again."))


class NothingToRun(AutomationError):
    """An automation cannot be switched on without a rule that is."""

    code = "no_enabled_rule"
    status = 409

    def __init__(self) -> None:
        message = _("Give the automation a rule that is switched on first.")
        super().__init__(message, details={"enabled": [message]})


class LastRule(AutomationError):
    """An automation that is switched on keeps a rule that is."""

    code = "last_enabled_rule"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            _("This is the last rule that is switched on. Switch the automation off first, or add another rule.")
        )


class CronRefused(AutomationError):
    """A cron expression that says nothing we can compute; ``details`` says what is accepted."""

    code = "cron_refused"
    status = 400

    def __init__(self, message: str | Promise) -> None:
        super().__init__(message, details={"cron": [message]})


class NothingToUndo(AutomationError):
    """No work of the run is still for its slot."""

    code = "nothing_to_undo"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("There is nothing to undo: no work of this run is scheduled any more."))
