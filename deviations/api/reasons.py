"""Why a work failed, waits or asks, as a sentence for whoever calls the API."""

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deviations.models import Deviation

_SENTENCES: dict[str, Promise] = {
    "refused": gettext_lazy("DeviantArt refused this work. Change it, then try again."),
    "tried_too_often": gettext_lazy("DeviantArt did not take this work in several tries. Nothing was published."),
    "item_lost": gettext_lazy("DeviantArt lost the uploaded file twice. Nothing was published; try again."),
    "partial": gettext_lazy("A part of this work is live and a part was refused. A retry sends only the rest."),
    "our_fault": gettext_lazy("Isekai made a mistake with this work and stopped. Try again."),
    "file_unusable": gettext_lazy("A file of this work cannot be prepared for DeviantArt. Replace it."),
    "stored_file_changed": gettext_lazy("The stored file is not the one that was uploaded. Replace it."),
    "unconfirmed": gettext_lazy("Whether this work is live is not known. It is not published again before that is."),
    "stash_unconfirmed": gettext_lazy("Whether this work is in the Sta.sh is not known. Look there."),
    "late": gettext_lazy("This work could not go out in time. Publish it now, or choose another time."),
}


def reason_of(deviation: Deviation) -> dict[str, str] | None:
    """``{code, message}``, or None where nothing needs an explanation. An unknown code still has a message."""
    code = deviation.reason_code
    if not code:
        return None
    if sentence := _SENTENCES.get(code):
        return {"code": code, "message": str(sentence)}
    if deviation.status in {Deviation.Status.FAILED, Deviation.Status.NEEDS_DECISION}:
        return {"code": code, "message": _("This work did not go out. Its attempts say what happened.")}
    return {"code": code, "message": _("The last try did not get through. It goes on by itself.")}
