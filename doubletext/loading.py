"""Load the graphs that `--graphs MODULE_OR_FILE:NAME` names."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from doubletext.graph import Graph, graph


class CannotLoad(Exception):
    """A --graphs value that names no graph. The message says why, and what to do."""


def load(names: Iterable[str]) -> dict[str, Graph]:
    """Load the graphs that are named MODULE_OR_FILE:NAME. Return them by the names of the graphs. Raises CannotLoad."""
    named: dict[str, Graph] = {}
    for name in names:
        found = _load(name)
        if found.name in named:
            raise CannotLoad(f"--graphs {name}: there is a graph {found.name} already; give one another name")
        named[found.name] = found
    return named


def _load(value: str) -> Graph:
    source, colon, name = value.rpartition(":")
    if not colon or not source or not name:
        raise CannotLoad(f"--graphs {value}: MODULE_OR_FILE:NAME is wanted, as in agents.py:support")
    try:
        module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    except (Exception, SystemExit) as error:
        raise CannotLoad(f"--graphs {value}: cannot import {source}: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if inspect.isasyncgenfunction(found) or inspect.iscoroutinefunction(found):
        found = graph(found)
    if not isinstance(found, Graph):
        what = "is no graph" if hasattr(module, name) else "is not there"
        raise CannotLoad(f"--graphs {value}: {name} {what}; name an async function, decorated with doubletext.graph")
    return found


def _load_module(name: str) -> ModuleType:
    _look_in(Path.cwd())
    return importlib.import_module(name)


def _look_in(folder: Path) -> None:
    """Let graphs import modules of the folder. It is last on the path, so that its modules do not hide libraries."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _load_file(path: Path) -> ModuleType:
    path = path.resolve(strict=True)
    name = f"graphs_in_{path.stem}"  # not the file's own name, which a library may have
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    _look_in(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
