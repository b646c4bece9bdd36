"""Artists and works to look at, made as people would make them: by the sandbox's login and through storage."""

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import requests
from django.conf import settings
from django.utils.translation import gettext as _
from PIL import Image, ImageDraw, ImageFilter

from accounts.models import ApiKey, DeviantArtAccount, User
from accounts.services.api_keys import create_api_key
from accounts.services.connecting import begin_flow, finish_sign_in
from accounts.services.workspaces import workspace_for
from deviations.errors import DeviationError
from deviations.models import Deviation, Upload
from deviations.services.drafting import create_draft
from deviations.services.scheduling import schedule_deviation
from deviations.services.uploading import complete_upload, issue_ticket, read_upload, wait_until_read
from isekai import clock

ARTISTS = ["nightjar", "ashgrove", "moth-lantern", "tidewater", "saltroad", "fernhand", "koi-unhurried", "lowsun"]
ADJECTIVES = ["Borrowed", "Quiet", "Northern", "Paper", "Sunken", "Second", "Copper", "Unhurried", "Hollow", "Tidal"]
NOUNS = ["Lighthouse", "Orchard", "Cathedral", "Dragon", "Harbour", "Gate", "Moth", "Summer", "Whale", "Satellite"]
TAGS = ["landscape", "fantasy", "night", "sea", "study", "digital painting", "light", "colour", "original", "sketch"]
SHAPES = [(1200, 1500), (1600, 1000), (1300, 1300), (1800, 900)]
READ_SECONDS = 60.0


class DemoUnavailable(DeviationError):
    """The demonstration can only be made against a running sandbox."""

    code = "demo_unavailable"


@dataclass(frozen=True, slots=True)
class DemoArtist:
    user: User
    account: DeviantArtAccount
    api_key: str
    works: list[Deviation]


def make_artist(number: int, *, works: int, rng: random.Random, tell: Callable[[str], None]) -> DemoArtist:
    """Connect a new artist of the sandbox and make so many works: a third stays drafts, the rest goes out soon.

    ``tell`` gets a line for each step. Raises DemoUnavailable when the sandbox or storage does not take part.
    """
    username = f"{ARTISTS[number % len(ARTISTS)]}-{rng.randrange(16**4):04x}"
    user = _sign_in(username)
    workspace = workspace_for(user)
    account = workspace.deviantart_accounts.connected().get()
    _key, api_key = create_api_key(workspace, user=user, name="Demonstration", scopes=list(ApiKey.Scope))
    tell(_("%(name)s is connected.") % {"name": username})
    made = [_make_work(user, index, rng=rng) for index in range(works)]
    tell(_("%(name)s has %(count)s works.") % {"name": username, "count": len(made)})
    return DemoArtist(user, account, api_key, made)


def _sign_in(username: str) -> User:
    """Go through DeviantArt's login as a browser would, allowing everything on the sandbox's page."""
    if settings.DEVIANTART_BASE_URL == settings.DEVIANTART_OFFICIAL_URL:
        raise DemoUnavailable(_("The demonstration never touches the real DeviantArt: start it with ./dev up."))
    flow, url = begin_flow()
    try:
        answer = requests.post(
            url,
            data={"new_username": username, "decision": "allow"},
            headers={"Accept-Encoding": "gzip", "User-Agent": "Isekai demonstration"},
            allow_redirects=False,
            timeout=10,
        )
    except requests.RequestException as error:
        raise DemoUnavailable(_("The sandbox does not answer: start it with ./dev up.")) from error
    code = parse_qs(urlsplit(answer.headers.get("Location", "")).query).get("code")
    if not code:
        raise DemoUnavailable(_("The sandbox did not let %(name)s in.") % {"name": username})
    return finish_sign_in(flow, code=code[0])


def _make_work(user: User, index: int, *, rng: random.Random) -> Deviation:
    title = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    upload = _upload(user, f"{title.lower().replace(' ', '-')}.png", draw(rng))
    work = create_draft(
        workspace_for(user),
        user=user,
        upload_ids=[upload.pk],
        title=title,
        description=_("Made by the demonstration."),
        tags=rng.sample(TAGS, 4),
    )
    if index % 3 == 0:
        return work
    soon = clock.now() + timedelta(seconds=60 + 45 * index)
    return schedule_deviation(work, user=user, scheduled_at=soon)


def _upload(user: User, filename: str, body: bytes) -> Upload:
    ticket = issue_ticket(workspace_for(user), user=user, filename=filename, content_type="image/png", size=len(body))
    try:
        answer = requests.post(ticket.url, data=ticket.fields, files={"file": (filename, body)}, timeout=60)
    except requests.RequestException as error:
        raise DemoUnavailable(_("Storage does not answer: start it with ./dev up.")) from error
    if not answer.ok:
        raise DemoUnavailable(_("Storage did not take a picture (HTTP %(status)s).") % {"status": answer.status_code})
    upload = complete_upload(ticket.upload)
    # Usually the media worker is faster; without one this process reads the file itself.
    read_upload(upload.pk)
    return wait_until_read(upload, seconds=READ_SECONDS)


def draw(rng: random.Random) -> bytes:
    """A picture as PNG: a sky, a light in it, and ridges one behind the other."""
    width, height = rng.choice(SHAPES)
    hue = rng.random() * 360
    sky = Image.linear_gradient("L").resize((width, height))
    image = Image.composite(
        Image.new("RGB", (width, height), f"hsl({hue:.0f}, 55%, 72%)"),
        Image.new("RGB", (width, height), f"hsl({(hue + 40) % 360:.0f}, 60%, 22%)"),
        sky,
    )
    glow = Image.new("L", (width, height))
    x, y, radius = rng.uniform(0.2, 0.8) * width, rng.uniform(0.15, 0.5) * height, rng.uniform(0.05, 0.14) * height
    ImageDraw.Draw(glow).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    image.paste("hsl(48, 90%, 88%)", mask=glow.filter(ImageFilter.GaussianBlur(radius / 3)))
    pencil = ImageDraw.Draw(image)
    ridges = rng.randrange(3, 6)
    for ridge in range(ridges):
        level = height * (0.5 + 0.45 * ridge / ridges)
        waves = [(rng.uniform(0.5, 5), rng.uniform(0, 6.3), rng.uniform(0.01, 0.06) * height) for _wave in range(4)]
        outline = [
            (at, level + sum(size * math.sin(many * at / width * 6.3 + phase) for many, phase, size in waves))
            for at in range(0, width + 8, 8)
        ]
        shade = 45 - 36 * (ridge + 1) / ridges
        pencil.polygon(
            [(0, height), *outline, (width, height)], fill=f"hsl({(hue + 20 * ridge) % 360:.0f}, 40%, {shade:.0f}%)"
        )
    for _star in range(rng.randrange(30, 90)):
        at = rng.uniform(0, width), rng.uniform(0, height * 0.4)
        pencil.ellipse((*at, at[0] + 3, at[1] + 3), fill="white")
    picture = io.BytesIO()
    image.save(picture, "PNG")
    return picture.getvalue()
