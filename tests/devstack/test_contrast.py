"""The contrast of the colours."""

import pytest

from isekai.devstack.contrast import STYLESHEET, contrast, main, report


def test_every_pair_of_the_stylesheet_reaches_its_floor():
    assert main(["--check"]) == 0


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [("#000000", "#ffffff", 21), ("#777777", "#ffffff", 4.48), ("#ffffff", "#ffffff", 1)]
)
def test_contrast_is_that_of_wcag(one, other, ratio):
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


def test_a_colour_that_is_too_faint_is_named():
    text = STYLESHEET.read_text().replace("--ink-faint: light-dark(#62625e", "--ink-faint: light-dark(#a2a29e")
    lines, missed = report(text, only_missed=True)
    assert missed == len(lines) > 0
    assert all(line.startswith("ink-faint") and line.endswith("MISSED") for line in lines)
