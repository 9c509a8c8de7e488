"""What `import doubletext` gives: every exported name, none of them before it is used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import doubletext
from doubletext import errors
from tests.packaging.python import imported, top_level


@pytest.mark.parametrize("name", doubletext.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    found = getattr(doubletext, name)
    assert found.__name__ == name
    assert found.__module__.startswith("doubletext.")
    assert name in dir(doubletext)


def test_a_type_checker_sees_the_names_that_are_exported() -> None:
    tree = ast.parse(Path(inspect.getfile(doubletext)).read_text())
    seen = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "typing"
    }
    assert {name for _, name in seen} == set(doubletext.__all__)
    for module, name in seen:
        assert getattr(doubletext, name).__module__ == module


def test_every_error_is_exported() -> None:
    kinds = {name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, Exception)}
    assert {name for name in kinds if getattr(errors, name).__module__ == errors.__name__} <= set(doubletext.__all__)


def test_another_name_is_an_attribute_error_and_a_module_of_the_package_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'doubletext' has no attribute 'Clients'"):
        _ = doubletext.Clients  # type: ignore[attr-defined]
    from doubletext import types

    assert types.__name__ == "doubletext.types"


def test_the_package_itself_and_a_file_of_graphs_import_neither_grpc_nor_what_a_worker_needs() -> None:
    modules = top_level(imported("from doubletext import Context, Graph, graph"))
    assert not modules & {"grpc", "google", "asyncio", "structlog", "rich", "click"}


def test_graph_is_the_decorator_and_not_the_module_of_that_name() -> None:
    code = "import doubletext.worker; from doubletext import graph; assert graph.__module__ == 'doubletext.graph'"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
