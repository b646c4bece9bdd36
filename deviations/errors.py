"""Why a work, a file or an upload could not do what was asked of it."""

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
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


class FieldsRefused(DeviationError):
    """Values that cannot be stored as they are; ``details`` has every reason, by field."""

    code = "invalid"
    status = 400

    def __init__(self, details: Mapping[str, Any]) -> None:
        super().__init__(_("Some fields cannot be used as they are."), details=details)


class ReferenceNotFound(DeviationError):
    """An id inside the request names nothing that the caller has; ``details`` says in which field."""

    code = "not_found"
    status = 404

    def __init__(self, field: str, message: str | Promise) -> None:
        super().__init__(message, details={field: [message]})


class UploadNotUsable(DeviationError):
    """The upload is the caller's, but it cannot become a file of a work: not verified yet, rejected, or used."""

    code = "upload_not_usable"
    status = 409


class TimeRefused(DeviationError):
    """Nothing can be published at that time; ``details`` says why, and which choice there is."""

    code = "time_refused"
    status = 422


class InTheTrash(DeviationError):
    code = "in_the_trash"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This work is in the trash. Restore it first."))


class DecisionNeeded(DeviationError):
    """What became of the work is for a person to say, before anything else happens to it."""

    code = "decision_needed"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            _("Whether this work is live on DeviantArt is not known. Open it, look there, and say first what you see.")
        )


class ConfirmationNeeded(DeviationError):
    """What was asked rests on the caller's word alone; ``details`` names the field that gives it, with the question."""

    code = "confirmation_needed"
    status = 409

    def __init__(self, field: str, message: str | Promise) -> None:
        super().__init__(message, details={field: [message]})


class CallUnderWay(BeingConfirmed):
    """A call to DeviantArt may still make the work live, so nobody can say yet that it is not."""

    def __init__(self, seconds: int) -> None:
        DeviationError.__init__(
            self,
            _("DeviantArt may still be publishing this work. Look again, and try again in %(seconds)s s.")
            % {"seconds": seconds},
        )


class AddressTaken(DeviationError):
    """Another work is known to be live at that address."""

    code = "address_taken"
    status = 409

    def __init__(self) -> None:
        message = _("Another work is known to be live at this address. Look again which one is there.")
        super().__init__(message, details={"url": [message]})


class PartlyLive(DeviationError):
    """A part of the work is on DeviantArt: its files, its mode and its account stay as they are."""

    code = "partly_live"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            _("A part of this work is already on DeviantArt, so its files, mode and account stay as they are.")
        )


class NotEditable(DeviationError):
    """The work has been published."""

    code = "not_editable"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This work is published. Change it on DeviantArt."))


class Busy(DeviationError):
    """Somebody else held the row for longer than a request may wait. Nothing was changed."""

    code = "busy"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This work is being changed by somebody else at this moment. Try again."))


class UploadRefused(DeviationError):
    """A file that cannot be accepted."""

    code = "upload_refused"
    status = 422


class NotArrived(DeviationError):
    """A ticket whose file storage does not have (yet)."""

    code = "not_arrived"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("The file has not arrived. Send it to the address of its ticket first, then complete it."))


class TicketExpired(DeviationError):
    """Nothing can be sent with this ticket any more."""

    code = "ticket_expired"
    status = 410

    def __init__(self) -> None:
        super().__init__(_("The time to send this file is over. Ask for a new ticket and send it again."))


class StoredFileMissing(DeviationError):
    """Storage answered, and has nothing under the key."""

    code = "stored_file_missing"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This file is not in storage any more."))


class StorageUnavailable(DeviationError):
    """Storage did not answer, or refused us; trying again later helps."""

    code = "storage_unavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__(_("The file storage does not answer at the moment. Try again in a minute."))


class ForeignStorageKey(DeviationError):
    """A key that is none of ours, or not of the workspace that it was said to be of. Nothing was touched."""

    code = "foreign_storage_key"
    status = 500
