"""What DeviantArt would refuse, known before it is asked."""

from collections.abc import Callable, Iterable

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import DeviantArtAccount, Workspace
from deviantart import rules
from deviations.errors import NotPublishable
from deviations.models import Deviation, DeviationFile
from isekai.compiled import Compiled, prefetch

_stored_files = Compiled(lambda pk: DeviationFile.objects.filter(deviation=pk))


def reasons_against(deviation: Deviation) -> dict[str, list[str]]:
    """Everything that stands against publishing the work as it is, all at once, by field; empty: nothing does.

    A file whose copy for DeviantArt is still being made does not stand against it: that is done long before a person
    could look again, and the publisher waits for it.
    """
    prefetch(deviation, "files", _stored_files)  # two of the checks look at them
    reasons: dict[str, list[str]] = {}
    for field, check in _CHECKS.items():
        if found := list(check(deviation)):
            reasons[field] = found
    return reasons


def ensure_publishable(deviation: Deviation) -> None:
    """Raise NotPublishable, with all reasons, unless there is none."""
    if reasons := reasons_against(deviation):
        raise NotPublishable(_("DeviantArt would not take this work as it is."), details=reasons)


def account_for(deviation: Deviation) -> DeviantArtAccount | None:
    """Where the work goes: the account that was chosen, else the workspace's only one."""
    return deviation.account if deviation.account_id else only_account(deviation.workspace)


def only_account(workspace: Workspace) -> DeviantArtAccount | None:
    """The connected account of a workspace that has exactly one."""
    # All of them, and judged here: who changes many works has fetched them together.
    accounts = [each for each in workspace.deviantart_accounts.all() if each.state != each.State.DISCONNECTED]
    return accounts[0] if len(accounts) == 1 else None


def _title(deviation: Deviation) -> Iterable[str]:
    if rules.title_fits(deviation.title):
        return
    if not deviation.title.strip():
        yield _("Give it a title.")
    else:
        yield _("DeviantArt takes titles of at most %(most)s characters; this one has %(length)s.") % {
            "most": rules.TITLE_MAX_LENGTH,
            "length": len(deviation.title),
        }


def _tags(deviation: Deviation) -> Iterable[str]:
    count = len(rules.tags_as_shown(deviation.tags or []))
    if count > rules.TAGS_MAX:
        yield _("DeviantArt takes at most %(most)s tags; these are %(count)s.") % {
            "most": rules.TAGS_MAX,
            "count": count,
        }


def _files(deviation: Deviation) -> Iterable[str]:
    files = list(deviation.files.all())
    if not files:
        yield _("Add a file.")
    for file in files:
        if file.content_type not in rules.CONTENT_TYPES:
            yield _("DeviantArt does not publish files like “%(name)s” (%(type)s).") % {
                "name": file.original_name,
                "type": file.content_type,
            }
        if file.size > rules.FILE_MAX_BYTES:
            yield _("“%(name)s” is larger than %(most)s MB.") % {
                "name": file.original_name,
                "most": rules.FILE_MAX_BYTES // 1024**2,
            }
        if file.media_state == DeviationFile.MediaState.FAILED:
            yield _("“%(name)s” could not be prepared for DeviantArt. Replace it.") % {"name": file.original_name}


def _upload_mode(deviation: Deviation) -> Iterable[str]:
    count = len(deviation.files.all())
    if deviation.upload_mode == Deviation.UploadMode.SINGLE and count > 1:
        yield ngettext(
            "One deviation has exactly one file, and this work has %(count)s. Take the others out, or make one "
            "deviation for each file.",
            "One deviation has exactly one file, and this work has %(count)s. Take the others out, or make one "
            "deviation for each file.",
            count,
        ) % {"count": count}


def _account(deviation: Deviation) -> Iterable[str]:
    account = account_for(deviation)
    if account is None:
        yield _("Choose the DeviantArt account that it goes to.")
    elif account.state == DeviantArtAccount.State.DISCONNECTED:
        yield _("The account %(name)s is disconnected. Connect it again, or choose another one.") % {
            "name": account.username
        }


def _mature_level(deviation: Deviation) -> Iterable[str]:
    if deviation.is_mature and not deviation.mature_level:
        yield _("Say how mature it is: moderate or strict.")


_CHECKS: dict[str, Callable[[Deviation], Iterable[str]]] = {
    "title": _title,
    "tags": _tags,
    "files": _files,
    "upload_mode": _upload_mode,
    "account_id": _account,
    "mature_level": _mature_level,
}
