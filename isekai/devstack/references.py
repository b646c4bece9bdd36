"""The lines of code that the pages under docs/ point at. Exit 1 if one of them is not where a page says.

python -m isekai.devstack.references --check    # what is wrong
python -m isekai.devstack.references            # put the line numbers right
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isekai.devstack import PROJECT

# [`claim_next`](../publisher/services/claiming.py#L71): the name is defined, or written in quotes, on that line.
LINK = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<path>[^)#\s]+\.(?:py|lua|html|yml))#L(?P<line>\d+)\)")


@dataclass(frozen=True)
class Reference:
    """One link of a page to a line: ``line`` is what the page says, ``found`` where it is, None where nowhere."""

    page: Path
    name: str
    path: str
    line: int
    found: int | None

    @property
    def is_right(self) -> bool:
        return self.line == self.found


def defined_at(name: str, source: str) -> int | None:
    """The line (from 1) on which ``name`` is made: a function, a class, something assigned, a text in quotes."""
    last = re.escape(name.rpartition(".")[2].removesuffix("()"))
    for made in (rf"^\s*(?:async )?(?:def|class) {last}\b", rf"^\s*{last}\b.*=", rf"[\"']{last}[\"']", last):
        if match := re.search(made, source, re.MULTILINE):
            return source.count("\n", 0, match.end()) + 1
    return None


def references(page: Path) -> Iterator[Reference]:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["path"]
        source = target.read_text(encoding="utf-8") if target.is_file() else ""
        yield Reference(page, link["name"], link["path"], int(link["line"]), defined_at(link["name"], source))


def pages() -> list[Path]:
    return sorted((PROJECT / "docs").rglob("*.md"))


def put_right(page: Path) -> None:
    """Write the true line numbers into a page; what is found nowhere stays as it is."""
    text = page.read_text(encoding="utf-8")
    for each in references(page):
        if each.found is not None:
            text = text.replace(
                f"[`{each.name}`]({each.path}#L{each.line})", f"[`{each.name}`]({each.path}#L{each.found})"
            )
    page.write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        for page in pages():
            put_right(page)
    wrong = [each for page in pages() for each in references(page) if not each.is_right]
    for each in wrong:
        where = "nowhere" if each.found is None else f"in line {each.found}"
        print(f"{each.page.relative_to(PROJECT)}: {each.name} is {where} of {each.path}, not in line {each.line}.")
    if wrong:
        print("python -m isekai.devstack.references puts the line numbers right.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
