"""What can go wrong with people, their DeviantArt accounts, and the secrets that these need."""

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from isekai.errors import IsekaiError


class AccountError(IsekaiError):
    code = "account_error"


class SecretUnreadable(AccountError):
    """A stored secret is not what was written there: moved, changed, cut, or under a key that is not to be had."""

    code = "secret_unreadable"
    status = 500

    def __init__(self) -> None:
        super().__init__(_("A stored secret cannot be read. The operator of this installation has to look into it."))


class KeyNotLost(AccountError):
    """Only an encryption key that secrets are under, and that the environment does not have, can be given up."""

    code = "key_not_lost"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("There is no lost key of that name: the environment has it, or nothing was ever under it."))


class ZoneNotConfirmed(AccountError):
    """Another time zone moves something, and nobody has said yet that it may."""

    code = "confirmation_needed"
    status = 409


class LoginLost(AccountError):
    """DeviantArt no longer lets us act for this account; only its owner can change that, by connecting it again."""

    code = "login_lost"
    status = 409

    def __init__(self, *, reason: str = "") -> None:
        super().__init__(_("The connection to DeviantArt has ended. Connect the account again."))
        self.reason = reason


class TokenUnavailable(AccountError):
    """No usable access token at the moment, without the login being lost; ask again later.

    ``retry_after_seconds`` is when the next question makes sense.
    """

    code = "token_unavailable"
    status = 503

    def __init__(
        self, message: str | Promise = "", *, retry_after_seconds: float = 0.0, code: str | None = None
    ) -> None:
        super().__init__(message or _("The access to DeviantArt cannot be renewed at the moment."), code=code)
        self.retry_after_seconds = retry_after_seconds


class ForeignServer(AccountError):
    """The account was connected at another server than the one that this installation talks to."""

    code = "foreign_server"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("This account was connected at another server. Nothing of it is sent to this one."))


class AccountBusy(AccountError):
    """Something of the account is on its way to DeviantArt, and needs its login until it has arrived."""

    code = "account_busy"
    status = 409

    def __init__(self) -> None:
        super().__init__(_("A work of this account is on its way to DeviantArt. Wait until it has arrived."))


class NoWorkspace(AccountError):
    """The user is a member of no workspace, so there is nothing that they could work on."""

    code = "no_workspace"
    status = 403

    def __init__(self) -> None:
        super().__init__(_("You are not a member of any workspace. Ask the person who runs this installation."))


class OwnersOnly(AccountError):
    """What holds for everybody in a workspace is said by its owners."""

    code = "owners_only"
    status = 403

    def __init__(self) -> None:
        super().__init__(_("Only an owner of the workspace can change this. Ask one of them."))


class ConnectError(AccountError):
    """A login at DeviantArt that did not lead to what it was begun for, in our own words and codes."""

    code = "connect_failed"
    message_text: str | Promise = _("Connecting to DeviantArt did not work. Try it again.")

    def __init__(self, message: str | Promise = "", **options: Any) -> None:
        super().__init__(message or self.message_text, **options)


class FlowUnknown(ConnectError):
    """The browser comes back with a state that it was never given, that was used, or that is too old."""

    code = "flow_unknown"
    message_text = _("This login was not begun in this browser, or too long ago. Start it again.")


class ConnectDenied(ConnectError):
    code = "connect_denied"
    status = 403
    message_text = _("You did not allow Isekai to act for you at DeviantArt, so nothing was connected.")


class ConnectUnavailable(ConnectError):
    code = "connect_unavailable"
    status = 503
    message_text = _("DeviantArt cannot be reached at the moment. Try it again in a few minutes.")


class ClientNotAccepted(ConnectError):
    code = "client_not_accepted"
    status = 502
    message_text = _(
        "DeviantArt does not accept the application id or the secret of this installation. Tell the person who runs it."
    )


class ScopesRefused(ConnectError):
    code = "scopes_refused"
    status = 403
    message_text = _(
        "Isekai may not even see who you are at DeviantArt. Connect again and allow everything it asks for."
    )


class RegistrationClosed(ConnectError):
    code = "registration_closed"
    status = 403
    message_text = _("This installation does not take new people by itself. Ask the person who runs it to let you in.")


class UserInactive(ConnectError):
    code = "user_inactive"
    status = 403
    message_text = _("Your access to this installation was taken away. Ask the person who runs it.")


class DifferentAccount(ConnectError):
    """A reconnect came back as somebody else; nothing that is stored has changed."""

    code = "different_account"
    status = 409
    message_text = _(
        "You were signed in at DeviantArt as somebody else. Sign out there, then connect this account again."
    )


class AccountElsewhere(ConnectError):
    code = "account_elsewhere"
    status = 409
    message_text = _("This DeviantArt account is already connected in another workspace. Disconnect it there first.")


class AccountForeign(ConnectError):
    code = "account_foreign"
    status = 409
    message_text = _("This account is still connected at another server. Disconnect it first.")
