"""The graphs that the server has of its own, and how others are loaded."""

import importlib
import importlib.util
import inspect
import json
import re
import sys
import zlib
from asyncio import sleep
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from doubletext.graph import Context, Graph, graph

KNOWN_AS: Final = {"sf": "San Francisco", "nyc": "New York City", "la": "Los Angeles", "dc": "Washington"}
SKIES: Final = ("sunny", "partly cloudy", "foggy", "rainy", "windy", "clear")


@graph
async def agent(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """The weather agent of the double-texting guides, without a model: asks a tool, reads its answer, answers.

    input.sleep: seconds to sleep first, so that it can be stopped before it answers.
    """
    city = city_of(question_of(ctx.input))
    sky, degrees = weather_in(city)
    call, run_id = f"call_{ctx.run['run_id']}", ctx.run["run_id"]
    steps: list[dict[str, Any]] = [
        {
            "id": f"{run_id}-1",
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": call, "name": "search", "args": {"query": f"weather in {city}"}}],
        },
        {
            "id": f"{run_id}-2",
            "role": "tool",
            "name": "search",
            "tool_call_id": call,
            "content": json.dumps({"city": city, "sky": sky, "celsius": degrees}),
        },
        {"id": f"{run_id}-3", "role": "assistant", "content": f"It is {sky} and {degrees} °C in {city}."},
    ]
    # A second attempt goes on where the first one was cut short.
    made = {message.get("id") for message in ctx.state.get("messages", []) if isinstance(message, dict)}
    left = [message for message in steps if message["id"] not in made]
    if len(left) == len(steps):
        await sleep(_seconds(ctx.input.get("sleep")))
    for message in left:
        yield {"messages": [message]}


@graph
async def echo(ctx: Context) -> dict[str, Any]:
    """Answers with what it was told, in one step."""
    message = {"id": f"{ctx.run['run_id']}-1", "role": "assistant", "content": question_of(ctx.input)}
    return {"messages": [message]}


BUILT_IN: Final = {each.name: each for each in (agent, echo)}


def question_of(given: dict[str, Any]) -> str:
    """The content of the input's last message, as text."""
    messages = given.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else messages
    content = last.get("content") if isinstance(last, dict) else last
    if content is None:
        return ""
    return content if isinstance(content, str) else json.dumps(content)


def city_of(question: str) -> str:
    found = re.search(r"\bin\s+([\w .'-]*\w)", question)
    name = found[1].strip() if found else ""
    return KNOWN_AS.get(name.lower(), name.title()) or "your city"


def weather_in(city: str) -> tuple[str, int]:
    draw = zlib.crc32(city.encode())
    return SKIES[draw % len(SKIES)], draw // 7 % 30 + 2


def _seconds(value: Any) -> float:
    return max(float(value), 0.0) if isinstance(value, (int, float)) else 0.0


class CannotLoad(Exception):
    """A --graphs value that names no graph; the message says why and what to do."""


def load(names: Iterable[str]) -> dict[str, Graph]:
    """The graphs named MODULE_OR_FILE:NAME, by their own names. Raises CannotLoad."""
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
    """Let graphs import what lies in the folder; last, so that nothing there takes the place of a library."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _load_file(path: Path) -> ModuleType:
    path = path.resolve(strict=True)
    name = f"graphs_in_{path.stem}"  # not its own, which may be a library's
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    _look_in(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
