"""What the operations make of the code at a mutation point, and what they refuse."""

from pathlib import Path

import pytest

from tests.mutants import points
from tests.mutants.points import DoesNotFit, Operation, Point, mutated

FUNCTION = "def f(a, b, c):\n    g = a\n"


def marked(code: str) -> tuple[str, int]:
    """The code within a function, and the line of its mark."""
    lines = (FUNCTION + "".join(f"    {line}\n" for line in code.splitlines())).splitlines()
    line = next(number for number, each in enumerate(lines, 1) if "# mutant: here" in each)
    return "\n".join(lines) + "\n", line


@pytest.mark.parametrize(
    ("code", "operation", "changed"),
    [
        ("a.b(c)  # mutant: here", points.drop, "pass  # mutant: here"),
        ("a.b(\n    c,  # mutant: here\n)", points.drop, "pass"),
        ("a.b(c)  # mutant: here", points.before("g.b()\nb()"), "g.b()\n    b()\n    a.b(c)  # mutant: here"),
        ("if a:  # mutant: here\n    b()", points.condition("False"), "if False:  # mutant: here\n        b()"),
        ("if a:  # mutant: here\n    b()", points.condition("_ and g"), "if (a) and g:  # mutant: here\n        b()"),
        ("if a:\n    b()\nelif c:  # mutant: here\n    b()", points.condition("True"), "elif True:  # mutant: here"),
        ("if (x := a) <= b:  # mutant: here\n    b()", points.compare("<=", "<"), "if (x := a) < b:"),
        ("return a < b  # mutant: here", points.compare("<", "<="), "return a <= b  # mutant: here"),
        (
            "return f(\n    a=a < 1,\n    b=b < 1,  # mutant: here\n)",
            points.compare("<", "<="),
            "a=a < 1,\n        b=b <= 1,",
        ),
        ("a = min(b, c)  # mutant: here", points.call("min", "_1"), "a = c  # mutant: here"),
        ("return b - 1  # mutant: here", points.left_operand, "return b  # mutant: here"),
        ("return b if a else c  # mutant: here", points.otherwise, "return c  # mutant: here"),
        ("h = (a, b, c)  # mutant: here", points.without_first, "h = (b, c,)  # mutant: here"),
        ("h = (b(1), b(a, c=2, g=3))  # mutant: here", points.without_argument("c"), "h = (b(1), b(a, g=3))"),
        ("return [each(1) for each in a]  # mutant: here", points.element("b(_)"), "[b(each(1)) for each in a]"),
        ("a.b = c  # mutant: here", points.value("_ + 1"), "a.b = (c) + 1  # mutant: here"),
        ("return a  # mutant: here", points.value("None"), "return None  # mutant: here"),
        ('a("x FULL y")  # mutant: here', points.text("FULL", "OFF"), 'a("x OFF y")  # mutant: here'),
        ('a("ü", min(b, c))  # mutant: here', points.call("min", "_0"), 'a("ü", b)'),
    ],
)
def test_an_operation_changes_what_it_is_made_for_and_nothing_else(
    code: str, operation: Operation, changed: str
) -> None:
    text, line = marked(code)
    assert changed in mutated(text, line, operation).removeprefix(FUNCTION)


@pytest.mark.parametrize(
    ("code", "operation", "why"),
    [
        ("a()  # mutant: here", points.condition("False"), "has no test"),
        ("a()  # mutant: here", points.compare("<", "<="), "0 times <"),
        ("a(b < 1, c < 1)  # mutant: here", points.compare("<", "<="), "2 times <"),
        ("if a:  # mutant: here\n    return b < c", points.compare("<", "<="), "0 times <"),
        ("a()  # mutant: here", points.before("gone.b()"), "nothing is called gone"),
        ('a("FULL FULL")  # mutant: here', points.text("FULL", "OFF"), "0 times"),
        ("pass  # mutant: here", points.drop, "nothing is changed"),
    ],
)
def test_code_of_another_form_is_refused(code: str, operation: Operation, why: str) -> None:
    text, line = marked(code)
    with pytest.raises(DoesNotFit, match=why):
        mutated(text, line, operation)


def test_points_are_comments_and_nothing_that_looks_like_one(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text('x = "# mutant: text"\ny = 1  # a word, and # mutant: one-2\n# mutant:\n')
    assert list(points.points([file])) == [Point("one-2", file, 2)]
