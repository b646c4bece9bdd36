"""How the publisher's messages read."""

from django.utils.translation import gettext_lazy as _

from accounts.services.notifying import describe

describe(
    "work_failed",
    subject=_("“%(title)s” could not be published"),
    text=_(
        "DeviantArt did not take “%(title)s”, and Isekai has stopped trying. Nothing of it was lost. "
        "See what happened, and try again: %(public_url)s/works/%(deviation_id)s/"
    ),
)
describe(
    "work_needs_decision",
    subject=_("“%(title)s” needs your decision"),
    text=_(
        "Isekai does not know whether “%(title)s” is live on DeviantArt, and will not guess. "
        "Have a look, and tell us: %(public_url)s/works/%(deviation_id)s/"
    ),
)
describe(
    "works_late",
    subject=_("Works of %(account)s are late"),
    text=_(
        "%(account)s could not publish for so long that %(count)s works are later than you allow. "
        "They wait until you say what becomes of them: %(public_url)s/works/?status=needs_decision"
    ),
)
describe(
    "account_quota",
    subject=_("DeviantArt takes no more works of %(account)s today"),
    text=_(
        "DeviantArt's daily limit for %(account)s is reached. The remaining works keep their order and go out when "
        "DeviantArt takes works again, at the latest after 24 hours: %(public_url)s/works/"
    ),
)
describe(
    "answer_not_understood",
    subject=_("DeviantArt answers in a way that Isekai does not know"),
    text=_(
        "A work was set aside because DeviantArt's answer could not be understood (publication %(publication_id)s): "
        "“%(description)s”. It may have changed its API; look at the attempts in %(public_url)s/admin/."
    ),
)
