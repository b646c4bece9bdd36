"""Addresses of works at DeviantArt, as people copy them from their browser. Pure functions."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

MAX_LENGTH = 500
# In `https://www.deviantart.com/<name>/art/<title>-<number>` the number alone says which work it is.
_WORK = re.compile(r"/(?P<username>[^/]+)/art/(?:(?P<slug>[^/]*)-)?(?P<number>[0-9]{1,20})/?", re.ASCII)
_OLD_WORK = re.compile(r"/art/(?:(?P<slug>[^/]*)-)?(?P<number>[0-9]{1,20})/?", re.ASCII)
_STASHED = re.compile(r"/(?:stash/)?0[0-9a-z]{4,30}/?", re.ASCII)
_HOSTS = {"deviantart.com", "www.deviantart.com"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a work is: whose it is, its number, and the address as DeviantArt would write it."""

    username: str
    number: str
    url: str

    def is_same_as(self, other: "Address | None") -> bool:
        return other is not None and (self.number, self.username.casefold()) == (
            other.number,
            other.username.casefold(),
        )


def work_address(text: str, *, base_url: str) -> Address | None:
    """What ``text`` names, if it is the address of a work at DeviantArt or at ``base_url``; None for anything else."""
    host, path = _host_and_path(text)
    found = _WORK.fullmatch(path) if host in _HOSTS | {_host_of(base_url)} else None
    if found is not None:
        username = unquote(found["username"])
    elif (old := _OLD_WORK.fullmatch(path)) and (subdomain := re.fullmatch(r"([a-z0-9-]+)\.deviantart\.com", host)):
        # How addresses were written until 2019; DeviantArt still redirects them.
        found, username = old, subdomain[1]
    if found is None or username.casefold() == "www":
        return None
    name = f"{found['slug']}-{found['number']}" if found["slug"] is not None else found["number"]
    return Address(username, found["number"], f"{base_url}/{quote(username)}/art/{name}")


def stash_address(text: str, *, base_url: str) -> str | None:
    """``text`` without what browsers add to it, if it is the address of something in a stash."""
    host, path = _host_and_path(text)
    in_stash = path.startswith("/stash/") if host != "sta.sh" else True
    if host not in _HOSTS | {_host_of(base_url), "sta.sh"} or not in_stash or not _STASHED.fullmatch(path):
        return None
    return f"https://{host}{path}" if host in _HOSTS | {"sta.sh"} else f"{base_url}{path}"


def _host_of(base_url: str) -> str:
    return urlsplit(base_url).netloc.lower()


def _host_and_path(text: str) -> tuple[str, str]:
    """Both empty for what is no web address; a query and a fragment are only how somebody came there."""
    # Nothing that one parser of addresses reads otherwise than the next.
    if len(text) > MAX_LENGTH or not re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", text):
        return "", ""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        is_plain = parts.scheme in {"http", "https"} and parts.username is None and parts.password is None
    except ValueError:  # an unfinished IPv6 address
        return "", ""
    return (parts.netloc.lower(), parts.path) if is_plain else ("", "")
