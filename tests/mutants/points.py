"""Mutation points: statements that the product names by a comment `# mutant: NAME`, and what is done to them there.

A name survives that variables are renamed and that code moves to another file. What is done to the statement is said
of its form (its test, its comparison, an argument), and where that is not enough, in code in which `_` stands for what
was there. All of it is an edit of the text, so that the rest of the file stays as it is, comments and lines too.
"""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

BODIES: Final = ("body", "orelse", "finalbody", "handlers")
COMPARISONS: Final = {"<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE, "==": ast.Eq, "!=": ast.NotEq}
MARK: Final = re.compile(r"#\s*mutant: ([a-z0-9-]+)$")


class DoesNotFit(Exception):
    """The code at the point has not the form that the operation is made for."""


class Point(NamedTuple):
    """`line`: where the comment stands, from 1."""

    name: str
    file: Path
    line: int


def points(files: list[Path]) -> Iterator[Point]:
    """All that are named in these files."""
    for file in files:
        if "mutant:" in (text := file.read_text("utf-8")):
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.COMMENT and (found := MARK.search(token.string)):
                    yield Point(found[1], file, token.start[0])


class Statement:
    """The statement that a point names, with the text around it."""

    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.line = line
        self.tree = ast.parse(text)
        self._starts = [0]
        for each in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(each))
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.stmt) and self._names(node)]
        if not found:
            raise DoesNotFit(f"no statement stands in line {line}")
        self.node = max(found, key=lambda node: node.lineno)

    def _names(self, node: ast.stmt) -> bool:
        """Of a compound statement, only its head is meant."""
        body = getattr(node, "body", None)
        end = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
        return node.lineno <= self.line <= end

    def offset(self, line: int, column: int) -> int:
        """Of a place as the syntax tree has it, whose columns are bytes."""
        start = self._starts[line - 1]
        return start + len(self.text[start : self._starts[line]].encode()[:column].decode())

    def source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or ""

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.end_lineno, node.end_col_offset)

    def replaced(self, node: ast.expr | ast.stmt, code: str) -> str:
        """The whole text with other code in the place of the node."""
        return self.text[: self.start(node)] + code + self.text[self.end(node) :]

    def put_before(self, code: str) -> str:
        """The whole text with code in lines of its own before the statement."""
        start = self.offset(self.node.lineno, 0)
        indent = " " * self.node.col_offset
        return self.text[:start] + "".join(f"{indent}{line}\n" for line in code.splitlines()) + self.text[start:]

    def only(self, holds: Callable[[ast.expr], bool], what: str) -> ast.expr:
        """The one expression of its head of which `holds`, or the one in the comment's line if there are several."""
        body = {id(each) for part in BODIES for each in getattr(self.node, part, [])}
        found: list[ast.expr] = []
        waiting: list[ast.AST] = [self.node]
        while waiting:
            node = waiting.pop()
            waiting += [each for each in ast.iter_child_nodes(node) if id(each) not in body]
            if isinstance(node, ast.expr) and holds(node):
                found.append(node)
        if len(found) > 1:
            found = [node for node in found if node.lineno == self.line]
        if len(found) != 1:
            raise DoesNotFit(f"there are {len(found)} times {what} in `{self.source(self.node)}`")
        return found[0]

    def known(self) -> set[str]:
        """The names that code may use here: those of the file, wherever they are bound, and Python's own."""
        names = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(self.tree) if isinstance(node, ast.arg)}
        names |= {
            alias.asname or alias.name
            for node in ast.walk(self.tree)
            for alias in getattr(node, "names", ())
            if isinstance(alias, ast.alias)
        }
        names |= {node.name for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        return names | set(dir(builtins))


Operation: TypeAlias = Callable[[Statement], str]
"""Makes the whole text with the bug in it. Raises DoesNotFit."""


def mutated(text: str, line: int, operation: Operation) -> str:
    changed = operation(Statement(text, line))
    ast.parse(changed)
    if changed == text:
        raise DoesNotFit(f"nothing is changed in line {line}")
    return changed


def filled(at: Statement, code: str, old: str) -> str:
    """The code with `_` as what was there. Raises DoesNotFit for a name that is none there: a bug that is nothing but
    a NameError would be found by any test."""
    names = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    if unknown := {node.id for node in names} - {"_"} - bound - at.known():
        raise DoesNotFit(f"nothing is called {', '.join(sorted(unknown))} there")
    return re.sub(r"\b_\b", lambda _: old, code)


# Operations


def drop(at: Statement) -> str:
    """Leave the statement out."""
    return at.replaced(at.node, "pass")


def before(code: str) -> Operation:
    """Put code before the statement."""
    return lambda at: at.put_before(filled(at, code, ""))


def condition(code: str) -> Operation:
    """Put another test in the place of that of an `if`: `False`, or `_ and more`."""

    def operation(at: Statement) -> str:
        if not isinstance(at.node, ast.If | ast.While):
            raise DoesNotFit(f"`{at.source(at.node)}` has no test")
        return at.replaced(at.node.test, filled(at, code, f"({at.source(at.node.test)})"))

    return operation


def value(code: str) -> Operation:
    """Put another value in the place of that which is assigned or returned."""

    def operation(at: Statement) -> str:
        if not isinstance(at.node, ast.Assign | ast.AnnAssign | ast.Return | ast.Expr) or at.node.value is None:
            raise DoesNotFit(f"`{at.source(at.node)}` has no value")
        return at.replaced(at.node.value, filled(at, code, f"({at.source(at.node.value)})"))

    return operation


def compare(old: str, new: str) -> Operation:
    """Compare in another way: `<=` with `<`."""

    def holds(node: ast.expr) -> bool:
        return isinstance(node, ast.Compare) and type(node.ops[0]) is COMPARISONS[old]

    def operation(at: Statement) -> str:
        node = at.only(holds, old)
        assert isinstance(node, ast.Compare)
        start, end = at.end(node.left), at.start(node.comparators[0])
        return at.text[:start] + at.text[start:end].replace(old, new) + at.text[end:]

    return operation


def call(function: str, code: str) -> Operation:
    """Put code in the place of the call of a function; `_0`, `_1` … are its arguments."""

    def holds(node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function

    def operation(at: Statement) -> str:
        node = at.only(holds, f"{function}()")
        assert isinstance(node, ast.Call)
        made = code
        for number, argument in enumerate(node.args):
            made = made.replace(f"_{number}", at.source(argument))
        return at.replaced(node, made)

    return operation


def left_operand(at: Statement) -> str:
    """Of a sum or a difference, the left side alone."""
    node = at.only(lambda each: isinstance(each, ast.BinOp), "a sum")
    assert isinstance(node, ast.BinOp)
    return at.replaced(node, at.source(node.left))


def otherwise(at: Statement) -> str:
    """Of `a if test else b`, always b."""
    node = at.only(lambda each: isinstance(each, ast.IfExp), "a choice")
    assert isinstance(node, ast.IfExp)
    return at.replaced(node, at.source(node.orelse))


def without_first(at: Statement) -> str:
    """A tuple without its first element."""
    node = at.only(lambda each: isinstance(each, ast.Tuple) and len(each.elts) > 1, "a tuple")
    assert isinstance(node, ast.Tuple)
    return at.replaced(node, f"({', '.join(at.source(each) for each in node.elts[1:])},)")


def without_argument(name: str) -> Operation:
    """Of a call, all arguments but the one of this name."""

    def holds(node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and any(each.arg == name for each in node.keywords)

    def operation(at: Statement) -> str:
        node = at.only(holds, f"{name}=")
        assert isinstance(node, ast.Call)
        kept = [at.source(each) for each in node.args]
        kept += [f"{each.arg}={at.source(each.value)}" for each in node.keywords if each.arg != name]
        return at.replaced(node, f"{at.source(node.func)}({', '.join(kept)})")

    return operation


def element(code: str) -> Operation:
    """Of a list that is made of another, each element."""

    def operation(at: Statement) -> str:
        node = at.only(lambda each: isinstance(each, ast.ListComp), "a list that is made of another")
        assert isinstance(node, ast.ListComp)
        return at.replaced(node.elt, filled(at, code, at.source(node.elt)))

    return operation


def text(old: str, new: str) -> Operation:
    """Other text in a constant, as in SQL."""

    def holds(node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(old) == 1

    def operation(at: Statement) -> str:
        node = at.only(holds, repr(old))
        return at.replaced(node, at.source(node).replace(old, new))

    return operation
