"""Why a work, a file or an upload could not do what was asked of it."""

from django.utils.translation import gettext_lazy as _

from isekai.errors import IsekaiError


class DeviationError(IsekaiError):
    code = "deviation_error"


class InvalidTransition(DeviationError):
    """A work in this state cannot go to that state."""

    code = "invalid_transition"
    status = 409


class AlreadyOnItsWay(DeviationError):
    """A publisher holds the work; what was asked comes too late."""

    code = "already_on_its_way"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This work is already on its way to DeviantArt. Wait until it has arrived."))


class BeingConfirmed(DeviationError):
    """Whether the work is live is not known yet, so nothing may change it."""

    code = "being_confirmed"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            _("DeviantArt did not answer, so we are looking whether this work is live. Wait until that is settled.")
        )


class VersionConflict(DeviationError):
    """The work was changed since the caller read it."""

    code = "version_conflict"
    status = 412

    def __init__(self) -> None:
        super().__init__(_("This work was changed elsewhere meanwhile. Load it again and repeat your change."))


class NotPublishable(DeviationError):
    """DeviantArt would refuse the work as it is; ``details`` has every reason at once, by field."""

    code = "not_publishable"
    status = 422


class UploadRefused(DeviationError):
    """A file that cannot be accepted."""

    code = "upload_refused"
    status = 422
