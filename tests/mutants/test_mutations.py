"""Each bug can still be planted in the code as it is now, and what it makes of it is code."""

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.mutations import PLANTS, Plant, plant


@pytest.mark.parametrize("planted", PLANTS, ids=lambda each: each.what)
def test_the_code_has_what_the_bug_takes_the_place_of(planted: Plant) -> None:
    sound = (ROOT / planted.file).read_text("utf-8")
    changed = planted.planted(sound)
    assert changed != sound
    compile(changed, planted.file, "exec")


def test_a_bug_that_fits_no_longer_says_so() -> None:
    with pytest.raises(ValueError, match="has 0 times 'gone'"):
        plant("w", "f.py", "gone", "").planted("here")
    with pytest.raises(ValueError, match="has 2 times 'x'"):
        plant("w", "f.py", "x", "").planted("x x")
