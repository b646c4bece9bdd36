"""Contrast of the colour tokens in the stylesheet, light and dark. Exit 1 if a pair misses its floor.

python -m isekai.devstack.contrast            # a table
python -m isekai.devstack.contrast --check    # only what misses
"""

import re
import sys
from pathlib import Path

STYLESHEET = Path(__file__).parents[2] / "static/css/isekai.css"
# WCAG 2.2: 1.4.3 for text, 1.4.11 for edges, icons and focus.
TEXT, PART = 4.5, 3.0
GROUNDS = ["canvas", "surface", "raised", "sunken", "hover"]
HUES = ["blue", "teal", "green", "violet", "amber", "red", "held"]
PAIRS = [
    *[(ink, ground, TEXT) for ink in ("ink", "ink-soft", "ink-faint") for ground in GROUNDS],
    *[(hue, ground, TEXT) for hue in HUES for ground in ("canvas", "surface", "raised", "hover", f"{hue}-tint")],
    *[(ink, f"{hue}-tint", TEXT) for hue in HUES for ink in ("ink", "ink-soft")],
    ("on-ink", "ink", TEXT),
    ("on-blue", "blue", TEXT),
    *[(edge, ground, PART) for edge in ("line-control", "focus", "picked") for ground in GROUNDS[:3]],
    ("blue", "line", PART),
]


def tokens(stylesheet: str) -> dict[str, tuple[str, str]]:
    """The colours by name, each as (light, dark) in hex."""
    pattern = r"--([\w-]+):\s*light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)"
    return {name: (light, dark) for name, light, dark in re.findall(pattern, stylesheet)}


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1, as WCAG 2.2 defines it."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def report(stylesheet: str, *, only_missed: bool) -> tuple[list[str], int]:
    """A line for each pair, and how many miss their floor in one of the two themes."""
    colours = tokens(stylesheet)
    lines, missed = [], 0
    for front, back, floor in PAIRS:
        light, dark = (contrast(colours[front][mode], colours[back][mode]) for mode in (0, 1))
        misses = min(light, dark) < floor
        missed += misses
        if misses or not only_missed:
            end = "  MISSED" if misses else ""
            lines.append(f"{front:13} on {back:12} light {light:5.2f}  dark {dark:5.2f}  floor {floor}{end}")
    return lines, missed


def main(arguments: list[str]) -> int:
    lines, missed = report(STYLESHEET.read_text(encoding="utf-8"), only_missed="--check" in arguments)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
