"""Signing in and out, connecting DeviantArt accounts, and how the pages look for whom."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import FlowUnknown, ZoneNotConfirmed
from accounts.models import DeviantArtAccount, User
from accounts.services import connecting, signing_out
from accounts.services.connecting import Flow
from accounts.services.workspaces import workspace_for
from accounts.services.zones import change_time_zone
from accounts.web.forms import SignInForm, ThemeForm, TimeZoneForm
from accounts.web.redirects import safe_next
from isekai.errors import IsekaiError

FLOWS = "oauth_flows"
# Survives the redirect away from the callback, whose address holds a code.
CONNECT_ERROR = "connect_error"
THEME_COOKIE = "isekai_theme"  # a name that templates can read
THEME_COOKIE_SECONDS = 365 * 24 * 3600
BACKEND = "django.contrib.auth.backends.ModelBackend"
LOCKED_OUT = gettext_lazy("Too many tries. Wait a quarter of an hour, then try it again.")


class SignedInRequest(HttpRequest):
    user: User


# --- signing in and out ----------------------------------------------------------------------------------------------
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    next_path = safe_next(request.POST.get("next") or request.GET.get("next") or "")
    if request.user.is_authenticated:
        return redirect(next_path or settings.LOGIN_REDIRECT_URL)
    form = SignInForm(request, data=request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user())
        return redirect(next_path or settings.LOGIN_REDIRECT_URL)
    is_locked_out = getattr(request, "axes_locked_out", False)
    error = LOCKED_OUT if is_locked_out else request.session.pop(CONNECT_ERROR, "")
    return _sign_in_page(request, form, next_path, error=error, status=429 if is_locked_out else 200)


def answer_lockout(_request: HttpRequest, response: HttpResponse, _credentials: Any) -> HttpResponse:
    """What django-axes answers in place of a page that was tried too often: that very page, which says so."""
    response.status_code = 429
    return response


@require_POST
def sign_in_deviantart(request: HttpRequest) -> HttpResponse:
    return _start(request, connecting.begin_flow(next=safe_next(request.POST.get("next", ""))))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


@login_required
@require_POST
def sign_out_everywhere(request: SignedInRequest) -> HttpResponse:
    signing_out.sign_out_everywhere(request.user, user=request.user)
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


# --- connecting accounts ---------------------------------------------------------------------------------------------
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: SignedInRequest) -> HttpResponse:
    if request.method == "POST":
        flow = connecting.begin_flow(user=request.user, next=safe_next(request.POST.get("next", "")))
        return _start(request, flow)
    return _connect_page(request, error=request.session.pop(CONNECT_ERROR, ""))


@login_required
@require_POST
def reconnect(request: SignedInRequest, pk: UUID) -> HttpResponse:
    account = get_object_or_404(DeviantArtAccount.objects.owned_by(request.user).connected(), pk=pk)
    flow = connecting.begin_flow(user=request.user, account=account, next=safe_next(request.POST.get("next", "")))
    return _start(request, flow)


@login_required
@require_POST
def disconnect(request: SignedInRequest, pk: UUID) -> HttpResponse:
    account = get_object_or_404(DeviantArtAccount.objects.owned_by(request.user), pk=pk)
    try:
        is_revoked = connecting.disconnect_account(account, user=request.user)
    except IsekaiError as error:
        return _connect_page(request, error=str(error), status=error.status)
    if is_revoked:
        text = _("%(username)s is disconnected, and its login is erased.") % {"username": account.username}
        messages.success(request, text)
    else:
        text = _(
            "%(username)s is disconnected, and its login is erased here, but DeviantArt could not be told. "
            "Take it back there as well, under Settings, Applications."
        ) % {"username": account.username}
        messages.warning(request, text)
    return redirect("accounts:connect")


@require_GET
@sensitive_variables("code", "flow", "kept")
def callback(request: HttpRequest) -> HttpResponse:
    """Where DeviantArt sends the browser back to. What it says is taken only from the browser that it was begun in."""
    response = _finish(request)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _finish(request: HttpRequest) -> HttpResponse:
    try:
        flow, kept = connecting.take_flow(request.session.get(FLOWS, []), request.GET.get("state", ""))
    except FlowUnknown as error:
        # Nothing in the session is touched: a stranger's link must not end what its owner has begun.
        if request.user.is_authenticated:
            return _connect_page(request, error=str(error), status=error.status)
        return _sign_in_page(request, SignInForm(request), "", error=str(error), status=error.status)
    request.session[FLOWS] = kept
    # Saved before DeviantArt is asked: the state is spent, however long the answer takes.
    request.session.save()
    try:
        code = request.GET.get("code", "")
        if not code:
            raise connecting.denial(request.GET.get("error", ""))
        return _finish_sign_in(request, flow, code) if flow.is_sign_in else _finish_connect(request, flow, code)
    except IsekaiError as error:
        request.session[CONNECT_ERROR] = str(error)
        return redirect("accounts:sign-in" if flow.is_sign_in else "accounts:connect")


def _finish_sign_in(request: HttpRequest, flow: Flow, code: str) -> HttpResponse:
    user = connecting.finish_sign_in(flow, code=code)
    # Gives the session a new id, and ends that of somebody else.
    login(request, user, backend=BACKEND)
    return redirect(flow.next or settings.LOGIN_REDIRECT_URL)


def _finish_connect(request: HttpRequest, flow: Flow, code: str) -> HttpResponse:
    user = request.user
    if not isinstance(user, User) or str(user.pk) != flow.user_id:
        # Somebody else has signed in since in this browser.
        raise FlowUnknown
    account = connecting.finish_connect(flow, code=code, user=user, workspace=workspace_for(user))
    request.session.cycle_key()
    messages.success(request, _("%(username)s is connected.") % {"username": account.username})
    if account.missing_scopes:
        text = _(
            "You did not allow everything that Isekai asks for (%(scopes)s is missing), so works of %(username)s may "
            "not go out. Connect it again, and allow all of it."
        ) % {"username": account.username, "scopes": ", ".join(account.missing_scopes)}
        messages.warning(request, text)
    return redirect(flow.next or settings.LOGIN_REDIRECT_URL)


def _start(request: HttpRequest, begun: tuple[Flow, str]) -> HttpResponse:
    flow, url = begun
    request.session[FLOWS] = connecting.keep_flow(request.session.get(FLOWS, []), flow)
    return redirect(url)


def _sign_in_page(
    request: HttpRequest, form: Form, next_path: str, *, error: Any = "", status: int = 200
) -> HttpResponse:
    context = {"form": form, "next": next_path, "error": error, "sandbox": _is_sandbox()}
    return render(request, "accounts/sign_in.html", context, status=status)


def _connect_page(request: HttpRequest, *, error: Any = "", status: int = 200) -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101 - for the types: only signed-in people get here
    accounts = DeviantArtAccount.objects.owned_by(request.user).connected().order_by("username", "pk")
    context = {"accounts": accounts, "error": error, "sandbox": _is_sandbox()}
    return render(request, "accounts/connect.html", context, status=status)


def _is_sandbox() -> bool:
    return settings.DEVIANTART_BASE_URL != settings.DEVIANTART_OFFICIAL_URL


# --- how the pages look ----------------------------------------------------------------------------------------------
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember light, dark, or what the system says: with the user, and in a cookie for pages without one."""
    form = ThemeForm(request.POST)
    if not form.is_valid():
        return _refused(form)
    chosen = form.cleaned_data["theme"]
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(theme=chosen)
    response = _page_again(request)
    response.set_cookie(
        THEME_COOKIE,
        chosen,
        max_age=THEME_COOKIE_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,  # the server writes it into the page, so that no page flashes
        samesite="Lax",
    )
    return response


@login_required
@require_POST
def time_zone(request: SignedInRequest) -> HttpResponse:
    """Have the reader live in another zone; where that moves something, they are shown what before it does."""
    form = TimeZoneForm(request.POST)
    if not form.is_valid():
        return _refused(form)
    try:
        change_time_zone(request.user, form.cleaned_data["time_zone"], is_confirmed=form.is_confirmed)
    except ZoneNotConfirmed:
        # By its name, as it is of an app above.
        question = {"time_zone": form.cleaned_data["time_zone"], "next": safe_next(request.POST.get("next", ""))}
        return redirect(f"{reverse('automations:moves')}?{urlencode(question)}")
    except IsekaiError as error:
        form.add_error("time_zone", str(error))
        return _refused(form)
    return _page_again(request)


def _page_again(request: HttpRequest) -> HttpResponse:
    """The page that the form was on, as it looks now; ``next`` names it for browsers without scripts."""
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return redirect(safe_next(request.POST.get("next", "")) or settings.LOGIN_REDIRECT_URL)


def _refused(form: Form) -> HttpResponse:
    words = [str(text) for texts in form.errors.values() for text in texts]
    return HttpResponse(" ".join(words), status=422, content_type="text/plain; charset=utf-8")
