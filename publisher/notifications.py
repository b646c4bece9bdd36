"""How the publisher's messages read."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from accounts.services.notifying import describe
from deviations.services.reasons import explain


def _why(status: str) -> Callable[[Mapping[str, Any]], Mapping[str, str]]:
    """The same sentences as on the pages; a message of an older release has no reason."""

    def more(params: Mapping[str, Any]) -> Mapping[str, str]:
        code, title = str(params.get("reason", "")), str(params.get("title", ""))
        return {"why": str(explain(code, params, title=title, status=status))}

    return more


describe(
    "work_failed",
    subject=_("“%(title)s” could not be published"),
    text=_("%(why)s\nNothing of it was lost. See what happened: %(public_url)s/works/%(deviation_id)s/"),
    more=_why("failed"),
)
describe(
    "work_needs_decision",
    subject=_("“%(title)s” needs your decision"),
    text=_("%(why)s\nIsekai does not guess. Tell us here: %(public_url)s/works/%(deviation_id)s/"),
    more=_why("needs_decision"),
)
describe(
    "works_late",
    subject=_("Works of %(account)s are late"),
    text=_(
        "%(account)s could not publish for so long that %(count)s works are later than you allow. "
        "They wait until you say what becomes of them: %(public_url)s/works/?status=decision"
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
describe(
    "database_restored",
    subject=_("The database is older than what was published"),
    text=_(
        "The database of %(public_url)s knows of publishes until %(last_known)s, but there were some until "
        "%(last_published)s. Nothing of its %(accounts)s accounts goes out before their galleries were compared with "
        "it, which begins in a few minutes and needs nobody. Works that may be live or not will ask their owners."
    ),
)
describe(
    "clocks_disagree",
    subject=_("The clocks of Isekai disagree by %(seconds)s s"),
    text=_(
        "The clock of %(clock)s is %(seconds)s s ahead of the database's (behind it, when that is negative). Works go "
        "out by the database's clock, so they may be early or late; when the difference is large they wait until the "
        "clocks agree again. Look at the time service of the machines: %(public_url)s"
    ),
)
