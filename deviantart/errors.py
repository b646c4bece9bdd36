"""Everything that can go wrong with a call to DeviantArt, and the one place that decides what a failed call was.

Two questions have to be answered about a call that did not succeed: what is it (``Category``, which says what happens
next), and did it happen all the same (``Outcome``)? DeviantArt's own words are kept for the timeline, bounded and
without secrets.
"""

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deviantart.transport import Answer, NoAnswer, parse_http_date
from isekai import clock
from isekai.errors import IsekaiError

EXCERPT_LENGTH = 2000
DESCRIPTION_LENGTH = 500
RETRY_AFTER_CAP_SECONDS = 3600.0


class Category(StrEnum):
    """What a failure is, and with it what happens next."""

    RATE_LIMIT = "RATE_LIMIT"
    AUTH_ERROR = "AUTH_ERROR"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a category's name
    NETWORK_ERROR = "NETWORK_ERROR"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    SERVER_ERROR = "SERVER_ERROR"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    UNKNOWN = "UNKNOWN"


class Outcome(StrEnum):
    """Did the call do what it was for?"""

    NO = "no"  # certainly not: it never left, or DeviantArt said so itself
    YES = "yes"  # it has been done, by this call or an earlier one
    UNKNOWN = "unknown"  # nobody knows: look before anything is repeated


class Call(StrEnum):
    """What was asked; the numbers in ``error_code`` mean something else for each."""

    SUBMIT = "submit"
    PUBLISH = "publish"
    EDIT = "edit"
    ARRANGE = "arrange"  # folders, and what is in them
    READ = "read"
    DEVIATION = "deviation"  # a read of one work
    DOWNLOAD = "download"
    PROFILE = "profile"
    MORE_LIKE_THIS = "more_like_this"
    EXCHANGE = "exchange"  # an authorisation code for tokens
    REFRESH = "refresh"
    REVOKE = "revoke"


class DeviantArtError(IsekaiError):
    """A call to DeviantArt that brought no success.

    ``error``, ``error_code`` (0 is a code, None is none), ``description`` and ``details`` (field to text) are
    DeviantArt's words, ``http_status`` is its status (None without an answer), ``date`` its clock when it answered,
    ``excerpt`` the beginning of the answer's body without secrets, ``retry_after_seconds`` what it asked for, capped.
    """

    code = "deviantart_error"
    status = 502
    category: Category = Category.UNKNOWN
    outcome: Outcome = Outcome.UNKNOWN
    explanation: str | Promise = _("DeviantArt answered in a way that we do not understand.")

    def __init__(
        self,
        message: str | Promise = "",
        *,
        call: Call | None = None,
        outcome: Outcome | None = None,
        http_status: int | None = None,
        error: str = "",
        error_code: int | None = None,
        description: str = "",
        details: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
        date: datetime | None = None,
        excerpt: str = "",
    ) -> None:
        super().__init__(message or self.explanation, details=details)
        self.call = call
        if outcome is not None:
            self.outcome = outcome
        self.http_status = http_status
        self.error = error
        self.error_code = error_code
        self.description = description
        self.retry_after_seconds = retry_after_seconds
        self.date = date
        self.excerpt = excerpt


class RateLimited(DeviantArtError):
    """Too many requests, of the user or of the whole application (``is_application``)."""

    code = "deviantart_rate_limited"
    status = 503
    category = Category.RATE_LIMIT
    outcome = Outcome.NO
    explanation = _("DeviantArt asks us to slow down.")

    @property
    def is_application(self) -> bool:
        return self.error == "application_api_threshold"


class TokenExpired(DeviantArtError):
    """The access token is no longer good; a refresh may help, once."""

    code = "deviantart_token_expired"
    category = Category.TOKEN_EXPIRED
    outcome = Outcome.NO
    explanation = _("The access to DeviantArt has expired.")


class NotAuthorized(DeviantArtError):
    """The artist has to do something before this account can be used again."""

    code = "deviantart_not_authorized"
    category = Category.AUTH_ERROR
    outcome = Outcome.NO
    explanation = _("DeviantArt does not let us act for this account.")


class ScopeMissing(NotAuthorized):
    """The artist granted less than this call needs; ``scope`` names what, empty if DeviantArt did not say."""

    code = "deviantart_scope_missing"
    explanation = _("The connection to DeviantArt does not allow this. Connect the account again.")

    def __init__(self, *args: Any, scope: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = scope


class PolicyNotAccepted(NotAuthorized):
    """The artist has to accept DeviantArt's submission policy (code 0) or terms of service (code 1)."""

    code = "deviantart_policy_not_accepted"
    explanation = _("DeviantArt wants its policies to be accepted on its own site first.")


class GrantDead(NotAuthorized):
    """The refresh token is gone for good: the artist has to connect again. Only a definite answer says this."""

    code = "deviantart_grant_dead"
    explanation = _("The connection to DeviantArt has ended. Connect the account again.")


class ClientRefused(DeviantArtError):
    """DeviantArt does not know our application, its secret or its redirect address: the operator's problem."""

    code = "deviantart_client_refused"
    outcome = Outcome.NO
    explanation = _("DeviantArt does not accept this installation's application id, secret or redirect address.")


class Unreachable(DeviantArtError):
    """No connection: certainly nothing was sent."""

    code = "deviantart_unreachable"
    status = 503
    category = Category.NETWORK_ERROR
    outcome = Outcome.NO
    explanation = _("DeviantArt could not be reached.")


class AnswerLost(DeviantArtError):
    """The request left, at least in part, and no complete answer came in time."""

    code = "deviantart_answer_lost"
    status = 504
    category = Category.NETWORK_ERROR
    outcome = Outcome.UNKNOWN
    explanation = _("DeviantArt's answer was lost.")


class Rejected(DeviantArtError):
    """DeviantArt refuses what was sent; sending it again will not help."""

    code = "deviantart_rejected"
    status = 422
    category = Category.VALIDATION_ERROR
    outcome = Outcome.NO
    explanation = _("DeviantArt refused it.")


class NotFound(Rejected):
    """There is no such work, person or file (any more)."""

    code = "deviantart_not_found"
    status = 404
    explanation = _("It is not to be found at DeviantArt.")


class NotOwned(Rejected):
    """The work is somebody else's."""

    code = "deviantart_not_owned"
    status = 403
    explanation = _("The work belongs to another account.")


class NotDownloadable(Rejected):
    """The artist does not give the file away, or the free downloads of the one who asks are used up."""

    code = "deviantart_not_downloadable"
    status = 403
    explanation = _("The file cannot be downloaded.")


class AccountGone(Rejected):
    """The account that was asked about is suspended or inactive."""

    code = "deviantart_account_gone"
    status = 404
    explanation = _("That account is not active at DeviantArt.")


class CodeRefused(Rejected):
    """The authorisation code is wrong, used or too old, or does not fit the rest: start the login again."""

    code = "deviantart_code_refused"
    status = 400
    explanation = _("DeviantArt did not accept the login. Start it again.")


class FileChanged(Rejected):
    """The file to be uploaded has another size than was announced; the upload was broken off before its end."""

    code = "deviantart_file_changed"
    explanation = _("The stored file is not the one that was checked.")


class PictureRefused(Rejected):
    """A picture that we do not fetch: a foreign host, no picture, or too large."""

    code = "deviantart_picture_refused"
    explanation = _("The picture cannot be fetched.")


class ServerFailed(DeviantArtError):
    """DeviantArt failed (5xx) or something in front of it answered in its place."""

    code = "deviantart_server_failed"
    status = 503
    category = Category.SERVER_ERROR
    outcome = Outcome.UNKNOWN
    explanation = _("DeviantArt has trouble.")


class BadAnswer(ServerFailed):
    """A success by its status, but blank, unreadable, or without what it must contain."""

    code = "deviantart_bad_answer"
    status = 502
    explanation = _("DeviantArt's answer cannot be read.")


class BlockPage(ServerFailed):
    """What stands in front of DeviantArt refuses this installation by an HTML page, which is no word on any account."""

    code = "deviantart_blocked"
    explanation = _("DeviantArt blocks this installation at the moment.")


class PublicationFailed(DeviantArtError):
    """Publish code 6: it failed this time; try again a few times, each time after a look."""

    code = "deviantart_publication_failed"
    status = 503
    category = Category.SERVER_ERROR
    outcome = Outcome.NO
    explanation = _("DeviantArt could not publish it.")


class QuotaExceeded(DeviantArtError):
    """The account has used up its submissions for the day, or its storage."""

    code = "deviantart_quota_exceeded"
    status = 503
    category = Category.QUOTA_EXCEEDED
    outcome = Outcome.NO
    explanation = _("The account's quota at DeviantArt is used up.")


class ItemNotFound(DeviantArtError):
    """Publish code 7: the stash item is gone, or belongs to somebody else. It has to be uploaded again."""

    code = "deviantart_item_not_found"
    outcome = Outcome.NO
    explanation = _("DeviantArt no longer has the uploaded file.")


class AlreadyPublished(DeviantArtError):
    """Publish code 9: the item has been published before; the answer carries no url."""

    code = "deviantart_already_published"
    status = 409
    outcome = Outcome.YES
    explanation = _("It is already published.")


class Unexpected(DeviantArtError):
    """Anything else: the operator should see it."""

    code = "deviantart_unexpected"


def payload_of(answer: Answer) -> dict[str, Any] | None:
    """The JSON object in the answer's body, whatever its status and content type say; None if there is none.

    DeviantArt sends white space ahead of the JSON of long uploads (deviantart-api.md, section 6).
    """
    if answer.oversized:
        return None
    try:
        payload = json.loads(answer.body.decode("utf-8-sig").strip())
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def reports_an_error(payload: Mapping[str, Any]) -> bool:
    """Whether the body says that the call failed. HTTP 200 does not mean that it went well."""
    return bool(payload.get("error")) or payload.get("status") == "error" or payload.get("success") is False


def classify(call: Call, evidence: Answer | NoAnswer, *, secrets: Collection[str] = ()) -> DeviantArtError:
    """What a call that brought no success was.

    An answer that looks like a success comes here when it lacks what it must contain, and is a ``BadAnswer``. Whatever
    is in ``secrets``, and what looks like a token, is left out of the excerpt.
    """
    if isinstance(evidence, NoAnswer):
        return _classify_silence(call, evidence)
    payload = payload_of(evidence)
    words: dict[str, Any] = {
        "call": call,
        "http_status": evidence.status,
        "date": evidence.date,
        "retry_after_seconds": _retry_after(evidence),
        "excerpt": excerpt_of(evidence.body, secrets),
    }
    if payload is None or not reports_an_error(payload):
        return _classify_without_envelope(evidence, payload, words)
    error = _text(payload.get("error"), secrets)
    words |= {
        "error": error,
        "error_code": _number(payload.get("error_code")),
        "description": _text(payload.get("error_description"), secrets),
        "details": _details(payload.get("error_details"), secrets),
    }
    return _classify_envelope(call, evidence, payload, words)


def _classify_silence(call: Call, silence: NoAnswer) -> DeviantArtError:
    found = AnswerLost if silence.sent else Unreachable
    return found(call=call, http_status=silence.status, description=f"{silence.reason}: {silence.detail}")


def _classify_without_envelope(
    answer: Answer, payload: Mapping[str, Any] | None, words: dict[str, Any]
) -> DeviantArtError:
    """No error in DeviantArt's own form: most often a page of something in front of it, which proves nothing."""
    status = answer.status
    if status == 429:
        return RateLimited(**words)
    if 200 <= status < 300:
        return BadAnswer(**words)
    if status == 403 and payload is None:
        # CloudFront's firewall answers before it passes anything on. A page of unknown origin may not have.
        return BlockPage(outcome=Outcome.NO if _is_cloudfront(answer) else Outcome.UNKNOWN, **words)
    if status in {413, 415}:
        return Rejected(**words)
    if status >= 500 or (payload is None and status >= 400):
        return ServerFailed(**words)
    return Unexpected(**words)


def _classify_envelope(
    call: Call, answer: Answer, payload: Mapping[str, Any], words: dict[str, Any]
) -> DeviantArtError:
    """An error in DeviantArt's own form, under whatever status; ``error`` and ``error_code`` decide, never the text."""
    status, error, code = answer.status, words["error"], words["error_code"]
    if status == 429 or error.endswith("_api_threshold") or code == 429:
        return RateLimited(**words)
    if status >= 500 or error == "server_error":
        return ServerFailed(**words)
    if call in {Call.EXCHANGE, Call.REFRESH, Call.REVOKE}:
        return _classify_token_error(call, words)
    if error == "insufficient_scope":
        return ScopeMissing(scope=_text(payload.get("scope"), ()), **words)
    if error == "invalid_token":
        # "Invalid token." as well as "Expired ...": the texts may change, and one refresh is a harmless answer to both.
        return TokenExpired(**words)
    if status in {401, 403} or error in {"unauthorized", "unverified_account"}:
        return NotAuthorized(**words)
    if call is Call.PUBLISH and code in _PUBLISH_CODES:
        return _PUBLISH_CODES[code](**words)
    if call in {Call.SUBMIT, Call.PUBLISH} and _speaks_of_a_quota(words["description"]):
        return QuotaExceeded(**words)
    if call is Call.PUBLISH and code == 6:
        return PublicationFailed(**words)
    # A failed validation of a field may carry code 0 or 1 as well (section 4), and then says which field.
    if not words["details"] and (call, code) in _CODES:
        return _CODES[call, code](**words)
    if 200 <= status < 300 or status in {400, 413, 415, 422}:
        return Rejected(**words)
    return Unexpected(outcome=Outcome.NO if 400 <= status < 500 else Outcome.UNKNOWN, **words)


_PUBLISH_CODES: dict[int | None, type[DeviantArtError]] = {7: ItemNotFound, 9: AlreadyPublished}
# What the numbers mean at which call (sections 7, 9 and 10). Those of a submit, and all others, only say that it was
# refused, as does code 0 of the metadata: too many works at once.
_CODES: dict[tuple[Call, int | None], type[DeviantArtError]] = {
    (Call.PUBLISH, 0): PolicyNotAccepted,
    (Call.PUBLISH, 1): PolicyNotAccepted,
    (Call.EDIT, 0): NotFound,
    (Call.EDIT, 1): NotOwned,
    (Call.DEVIATION, 0): NotFound,
    (Call.DEVIATION, 1): NotOwned,
    (Call.DOWNLOAD, 1): NotFound,
    (Call.DOWNLOAD, 2): NotDownloadable,
    (Call.DOWNLOAD, 3): NotFound,
    (Call.PROFILE, 0): AccountGone,
    (Call.PROFILE, 1): AccountGone,
    (Call.PROFILE, 2): NotFound,
    (Call.MORE_LIKE_THIS, 0): NotFound,
}


def _classify_token_error(call: Call, words: dict[str, Any]) -> DeviantArtError:
    """Errors of the token endpoint: only what is about this very refresh token may end a connection."""
    error, status = words["error"], words["http_status"]
    # DeviantArt says invalid_request for almost everything, so here the text has to be read.
    description = words["description"].lower()
    if error in {"invalid_client", "unauthorized_client"} or "redirect_uri" in description:
        return ClientRefused(**words)
    is_dead = error == "invalid_grant" or (error == "invalid_request" and "refresh_token is invalid" in description)
    if call is Call.REFRESH and status == 400 and is_dead:
        return GrantDead(**words)
    if call is Call.EXCHANGE and status == 400 and error in {"invalid_grant", "invalid_request"}:
        return CodeRefused(**words)
    if call is Call.REVOKE and status == 400:
        return Rejected(**words)
    return Unexpected(outcome=Outcome.NO if 400 <= status < 500 else Outcome.UNKNOWN, **words)


def _is_cloudfront(answer: Answer) -> bool:
    page = answer.body[:8192].lower()
    return b"the request could not be satisfied" in page and (
        b"cloudfront" in page or "cloudfront" in answer.headers.get("Server", "").lower()
    )


_QUOTA = re.compile(
    r"\bquota\b"
    r"|\b(daily|submission|upload|storage)s? (space )?limit\b"
    r"|\b(not enough|out of|insufficient) (storage|space)\b",
    re.IGNORECASE,
)


def _speaks_of_a_quota(description: str) -> bool:
    """No number for a used-up quota is known, so the text is the only sign of it (deviantart-api.md, section 7)."""
    return bool(_QUOTA.search(description))


def _retry_after(answer: Answer) -> float | None:
    """The wait that was asked for, in seconds from the answer, capped: a slip of theirs must not stop us for days."""
    value = answer.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value, re.ASCII):
        seconds = float(value)
    else:
        moment = parse_http_date(value)
        if moment is None:
            return None
        seconds = (moment - (answer.date or clock.now())).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_CAP_SECONDS)


_SECRET_PATTERNS = [
    (
        re.compile(r'("(?:access_token|refresh_token|client_secret|code_verifier|code|token)"\s*:\s*")[^"]*'),
        r"\1[removed]",
    ),
    (
        re.compile(r"\b((?:access_token|refresh_token|client_secret|code_verifier|code|token)=)[^&\s\"'<>]+"),
        r"\1[removed]",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), r"\1 [removed]"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), "[removed]"),
    (re.compile(r"\b[0-9a-fA-F]{40,}\b"), "[removed]"),
]


def excerpt_of(body: bytes, secrets: Collection[str] = ()) -> str:
    """The beginning of a body as text that may be stored and shown to the owner: no secrets, no control characters."""
    return _clean(body[: 4 * EXCERPT_LENGTH].decode("utf-8", "replace"), secrets)[:EXCERPT_LENGTH]


def _clean(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[removed]").replace(quote(secret, safe=""), "[removed]")
    for pattern, replacement in _SECRET_PATTERNS:
        text = pattern.sub(replacement, text)
    return "".join(character for character in text if character.isprintable() or character in "\n\t").strip()


def _text(value: Any, secrets: Collection[str]) -> str:
    return _clean(value[: 4 * DESCRIPTION_LENGTH], secrets)[:DESCRIPTION_LENGTH] if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return int(value)
    return None


def _details(value: Any, secrets: Collection[str]) -> dict[str, str]:
    """DeviantArt's text for each field; at most 50 of them, since they are stored."""
    if not isinstance(value, dict):
        return {}
    return {_text(field, secrets): _text(str(text), secrets) for field, text in list(value.items())[:50]}
