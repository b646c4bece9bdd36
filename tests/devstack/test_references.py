from pathlib import Path

from isekai.devstack import references

SOURCE = '''"""A module about claim_next."""

LIMIT = 5


class Queue:
    def claim_next(self):
        return UniqueConstraint(name="one_claim")
'''


def page(folder: Path, name: str, line: int) -> Path:
    (folder / "claiming.py").write_text(SOURCE)
    text = folder / "page.md"
    text.write_text(f"Taken by [`{name}`](claiming.py#L{line}), once.\n")
    return text


def test_a_link_to_the_line_that_defines_the_name_is_right(tmp_path: Path):
    for name, line in [("claim_next", 7), ("Queue.claim_next", 7), ("Queue", 6), ("LIMIT", 3), ("one_claim", 8)]:
        (found,) = references.references(page(tmp_path, name, line))
        assert found.is_right, found


def test_a_line_that_has_moved_is_found_and_put_right(tmp_path: Path):
    text = page(tmp_path, "claim_next", 2)
    (found,) = references.references(text)
    assert (found.is_right, found.found) == (False, 7)
    references.put_right(text)
    assert text.read_text() == "Taken by [`claim_next`](claiming.py#L7), once.\n"


def test_a_name_or_a_file_that_is_gone_is_wrong(tmp_path: Path):
    text = page(tmp_path, "claim_last", 7)
    (found,) = references.references(text)
    assert (found.is_right, found.found) == (False, None)
    text.write_text("[`claim_next`](gone.py#L7)")
    (found,) = references.references(text)
    assert not found.is_right


def test_every_page_points_at_the_right_lines():
    wrong = [each for each_page in references.pages() for each in references.references(each_page)]
    assert [each for each in wrong if not each.is_right] == []
