"""Each bug can still be planted in the code as it is now, and what it makes of it is code."""

from pathlib import Path

import pytest

from tests.mutants import points
from tests.mutants.mutations import MUTANTS, Mutant, known_points, mutant
from tests.mutants.points import DoesNotFit


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda each: each.what)
def test_the_code_has_what_the_bug_takes_the_place_of(planted: Mutant) -> None:
    file, changed = planted.planted(known_points())
    assert changed != file.read_text("utf-8")
    compile(changed, str(file), "exec")


def test_every_point_that_the_code_names_has_a_bug() -> None:
    assert set(known_points()) == {name for each in MUTANTS for name, _ in each.edits}


def test_a_bug_whose_point_is_gone_says_so() -> None:
    with pytest.raises(DoesNotFit, match="no point is called gone"):
        mutant("w", "gone", points.drop).planted({})


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1  # mutant: one\ny = 1  # mutant: one\n")
    with pytest.raises(ValueError, match="two points are called one"):
        known_points(tmp_path)
