"""Why a publisher stops with a work before its end."""

from isekai.errors import IsekaiError


class PublisherError(IsekaiError):
    code = "publisher_error"
    status = 500


class ClaimLost(PublisherError):
    """The work was rescued from this worker meanwhile: it may decide nothing any more, and make no new call."""

    code = "claim_lost"


class WorkerUnknown(PublisherError):
    """This process has not registered as a publisher, so it cannot hold anything."""

    code = "worker_unknown"


class TooLateToSend(PublisherError):
    """So much time went by between writing a call down and making it that somebody else may have taken over."""

    code = "too_late_to_send"


class TooMuchToRead(PublisherError):
    """The gallery has too many works that are newer than what is looked for."""

    code = "too_much_to_read"
