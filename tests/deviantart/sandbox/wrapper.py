"""What the wrapper `deviantart` of PyPI sees of a sandbox. An isolated interpreter runs this: our package has its name.

Reads one JSON object from its input (where the sandbox is, the application, what to ask for) and writes one with what
the wrapper made of the answers. It is from 2017: the head and the compression that DeviantArt demands today are added
below it, in urllib, through which it calls.
"""

import gzip
import io
import json
import sys
import urllib.request
import urllib.response
from http.client import HTTPResponse
from typing import Any

import deviantart


class _Gzip(urllib.request.BaseHandler):
    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        request.add_header("Accept-Encoding", "gzip")
        return request

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> Any:
        if response.headers.get("Content-Encoding") != "gzip":
            return response
        plain = io.BytesIO(gzip.decompress(response.read()))
        unpacked = urllib.response.addinfourl(plain, response.headers, request.full_url, response.status)
        unpacked.msg = response.msg  # type: ignore[attr-defined]  # what urllib itself looks for
        return unpacked


def _api(given: dict[str, Any]) -> Any:
    """The wrapper, pointed at the sandbox; its own addresses are written into it."""
    api = deviantart.Api(  # type: ignore[attr-defined]  # the type checker sees our package
        given["client_id"],
        given["client_secret"],
        redirect_uri=given["redirect_uri"],
        standard_grant_type="authorization_code",
        scope="basic browse user",
    )
    api.oauth.auth_endpoint = given["base_url"] + "/oauth2/authorize"
    api.oauth.token_endpoint = given["base_url"] + "/oauth2/token"
    api.oauth.resource_endpoint = given["base_url"] + "/api/v1/oauth2"
    return api


def _failure(call: Any, *arguments: Any, **options: Any) -> str:
    try:
        call(*arguments, **options)
    except deviantart.api.DeviantartError as error:  # type: ignore[attr-defined]  # see above
        return str(error)
    return ""


def _titles(works: list[Any]) -> list[str]:
    return [work.title for work in works]


def _look_around(api: Any, username: str) -> dict[str, Any]:
    newest = api.get_gallery_folder(mode="newest", limit=24)
    second = api.get_gallery_folder(mode="newest", offset=24, limit=24)
    work = newest["results"][0]
    again = api.get_deviation(work.deviationid)
    folders = api.get_gallery_folders(calculate_size=True, ext_preload=True, limit=50)
    metadata = api.get_deviation_metadata([work.deviationid, newest["results"][1].deviationid], ext_submission=True)
    more = api.browse_morelikethis_preview(work.deviationid)
    daily = api.browse_dailydeviations()
    return {
        "me": [api.get_user().username, api.get_user().usertype],
        "profile": api.get_user(username).username,
        "newest": _titles(newest["results"]),
        "pages": [newest["has_more"], newest["next_offset"], len(second["results"])],
        "published_time": work.published_time,
        "again": [again.title, again.url, again.author.username, again.content["width"]],
        "folders": [folder["name"] for folder in folders["results"]],
        "preloaded": [len(folder["deviations"]) for folder in folders["results"]],
        "metadata": [[entry["title"], [tag["tag_name"] for tag in entry["tags"]]] for entry in metadata],
        "submitted_with": metadata[0]["submission"]["submitted_with"]["app"],
        "tags": api.search_tags("see"),
        "tagged": _titles(api.browse("tags", tag="seeded", limit=5)["results"]),
        "more": [more["author"].username, len(more["more_from_artist"])],
        "daily": len(daily),
        "download": api.download_deviation(work.deviationid)["src"],
        "no_content": _failure(api.get_deviation_content, work.deviationid),
        "gone": _failure(api.browse, "newest"),
        "unknown": _failure(api.get_deviation, "E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE"),
    }


def main() -> None:
    given = json.load(sys.stdin)
    seen: dict[str, Any] = {"package": deviantart.__file__}
    api = _api(given)
    if given["step"] == "authorize":
        seen["auth_uri"] = api.auth_uri
    elif given["step"] == "old":
        seen["failure"] = _failure(api.auth, code="any")
    else:
        urllib.request.install_opener(urllib.request.build_opener(_Gzip()))
        seen["used_code"] = _failure(api.auth, code="0" * 40)
        api.auth(code=given["code"])
        first = [api.access_token, api.refresh_token]
        api.auth(refresh_token=api.refresh_token)
        seen["refreshed"] = first[0] != api.access_token and first[1] != api.refresh_token
        seen["reuse"] = _failure(api.auth, refresh_token=first[1])
        seen |= _look_around(api, given["username"])
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
