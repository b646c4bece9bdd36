"""Why a file cannot be used, as a sentence for its artist. Codes are stored, sentences are made when they are shown."""

from collections.abc import Mapping
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_SENTENCES: dict[str, Promise] = {
    "unknown_type": gettext_lazy("This is no JPEG, PNG, GIF, WebP, MP4, WebM or MOV file."),
    "type_differs": gettext_lazy("The file was announced as %(announced)s, but it is %(found)s."),
    "size_differs": gettext_lazy("The file was announced with %(announced)s, but it has %(found)s. Upload it again."),
    "too_large": gettext_lazy("A file may have at most %(most)s."),
    "damaged": gettext_lazy("The file is damaged or incomplete. Save it again and upload it anew."),
    "too_many_pixels": gettext_lazy("The picture has %(width)s × %(height)s pixels, which is more than we can read."),
    "too_many_frames": gettext_lazy("The animation has more frames than we can read."),
    "too_complex": gettext_lazy(
        "Reading this file takes more time or memory than we can give it. Save it more simply."
    ),
    "no_video": gettext_lazy("There is no video in this file that we can read."),
    "unreadable": gettext_lazy("The file could not be read in several tries. Save it again and upload it anew."),
    "original_changed": gettext_lazy("The stored file is not the one that was uploaded. Replace it."),
    "original_missing": gettext_lazy("The uploaded file is not in storage any more. Replace it."),
}
_SIZES = {"size_differs": ("announced", "found"), "too_large": ("most",)}


def explain(code: str, params: Mapping[str, Any]) -> str:
    """The sentence for a reason of an upload or a file; one that is no reason of ours still gets a sentence."""
    sentence = _SENTENCES.get(code)
    if sentence is None:
        return _("This file cannot be used.")
    shown = {name: filesizeformat(value) if name in _SIZES.get(code, ()) else value for name, value in params.items()}
    try:
        return str(sentence) % shown
    except (KeyError, TypeError, ValueError):  # a row of another release has other parameters
        return _("This file cannot be used.")
