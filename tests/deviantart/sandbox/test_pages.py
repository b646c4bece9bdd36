"""What people see in a browser."""

import re

import requests

from tests.deviantart.sandbox.artist import Artist, picture
from tests.sandbox_process import SandboxProcess


def page(sandbox: SandboxProcess, path: str, status: int = 200) -> str:
    answer = requests.get(sandbox.base_url + path, timeout=20)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.text


def test_the_empty_front_page_says_what_to_do(sandbox: SandboxProcess) -> None:
    text = page(sandbox, "/")
    assert "Nothing has been published yet" in text
    assert "connect a DeviantArt account" in text


def test_the_front_page_shows_everything_newest_first(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(gallery_delay_seconds="never")  # which is about the API only
    links = [anna.published(title="First")["url"], Artist(sandbox, "bo").published(title="Second")["url"]]
    text = page(sandbox, "/")
    assert "2 published works" in text
    assert re.findall(r'class="title" href="([^"]+)"', text) == [links[1], links[0]]
    assert 'href="/anna"' in text
    for source in re.findall(r'<img src="([^"]+)"', text):
        assert requests.get(source, timeout=20).headers["Content-Type"] == "image/jpeg"


def test_many_works_come_in_pages(sandbox: SandboxProcess, anna: Artist) -> None:
    for number in range(61):
        anna.published(picture(8, 8), title=f"Work {number}")
    first = page(sandbox, "/")
    assert first.count('class="card"') == 60
    assert 'rel="prev"' not in first
    match = re.search(r'rel="next" href="(\?offset=60)"', first)
    assert match
    second = page(sandbox, "/" + match[1])
    assert second.count('class="card"') == 1
    assert "Work 0<" in second
    assert 'rel="next"' not in second


def test_an_artist_has_a_page(sandbox: SandboxProcess, anna: Artist) -> None:
    Artist(sandbox, "bo")
    anna.published(title="Anna's work")
    assert "Anna&#x27;s work" in page(sandbox, "/Anna")
    assert "Nothing published yet." in page(sandbox, "/bo")
    assert "Nothing here" in page(sandbox, "/cleo", 404)


def test_a_work_has_a_page_with_all_that_was_said(sandbox: SandboxProcess, anna: Artist) -> None:
    content = picture(320, 200)
    itemid = anna.item(content, title="Night <sky>", artist_comments="Oil & canvas\n<script>alert(1)</script>")
    live = anna.publish(itemid, tags=["night", "sky"]).json()
    text = page(sandbox, live["url"].removeprefix(sandbox.base_url))
    assert "<h1>Night &lt;sky&gt;</h1>" in text
    assert "Oil &amp; canvas\n&lt;script&gt;" in text
    assert "<script>" not in text
    assert "#night" in text
    assert 'href="/anna"' in text
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT', text)
    assert "uploaded with\n    Isekai" in text
    source = re.search(r'<img src="([^"]+)"', text)
    assert source
    assert requests.get(source[1], timeout=20).content == content


def test_a_work_is_found_by_its_number_under_its_artist_only(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("bo")
    number = anna.published()["url"].rpartition("-")[2]
    page(sandbox, f"/anna/art/Another-slug-{number}")
    for path in (f"/bo/art/Night-sky-{number}", "/anna/art/Night-sky-1234567890", "/anna/art/x", "/anna/art", "/f/1/2"):
        page(sandbox, path, 404)


def test_a_title_without_letters_still_has_an_address(anna: Artist) -> None:
    live = anna.published(title="星空 ✨")
    assert re.search(r"/anna/art/Untitled-\d{10}$", live["url"])
    assert "星空 ✨" in requests.get(live["url"], timeout=20).text


def test_strangers_files_cannot_run_in_the_sandboxs_origin(sandbox: SandboxProcess, anna: Artist) -> None:
    anna.published()
    answer = anna.session.get(anna.gallery()["results"][0]["content"]["src"], timeout=20)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox"


def test_pages_are_for_reading(sandbox: SandboxProcess) -> None:
    assert requests.post(sandbox.base_url + "/", timeout=20).status_code == 404
    head = requests.head(sandbox.base_url + "/", timeout=20)
    assert (head.status_code, head.text) == (200, "")
    style = requests.get(sandbox.base_url + "/sandbox.css", timeout=20)
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in style.text
