"""The graphs `agent` and `echo`, which every server has. They are for trying things out."""

import json
import re
import zlib
from asyncio import sleep
from collections.abc import AsyncIterator
from typing import Any, Final

from doubletext.graph import Context, graph

KNOWN_AS: Final = {"sf": "San Francisco", "nyc": "New York City", "la": "Los Angeles", "dc": "Washington"}
SKIES: Final = ("sunny", "partly cloudy", "foggy", "rainy", "windy", "clear")


@graph
async def agent(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """A weather agent without a model: it calls a tool, reads the tool's result, and answers.

    input.sleep: seconds to sleep first, so that there is time to stop the run before it answers.
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
    # A second attempt goes on after the messages of the first one.
    done = {message.get("id") for message in ctx.state.get("messages", []) if isinstance(message, dict)}
    left = [message for message in steps if message["id"] not in done]
    if len(left) == len(steps):
        await sleep(_seconds(ctx.input.get("sleep")))
    for message in left:
        yield {"messages": [message]}


@graph
async def echo(ctx: Context) -> dict[str, Any]:
    """Answer with the content of the last message, in one step."""
    message = {"id": f"{ctx.run['run_id']}-1", "role": "assistant", "content": question_of(ctx.input)}
    return {"messages": [message]}


BUILT_IN: Final = {each.name: each for each in (agent, echo)}


def question_of(given: dict[str, Any]) -> str:
    """Return the content of the input's last message, as text."""
    messages = given.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else messages
    content = last.get("content") if isinstance(last, dict) else last
    if content is None:
        return ""
    return content if isinstance(content, str) else json.dumps(content)


def city_of(question: str) -> str:
    """The city that is asked about: what comes after the last word "in". Takes time in proportion to the question."""
    words = question.split()
    after = max((place for place, word in enumerate(words, 1) if word == "in"), default=len(words))
    found = re.match(r"[\w .'-]*", " ".join(words[after:]))
    name = found[0].strip(" .'-") if found else ""
    return KNOWN_AS.get(name.lower(), name.title()) or "your city"


def weather_in(city: str) -> tuple[str, int]:
    draw = zlib.crc32(city.encode())
    return SKIES[draw % len(SKIES)], draw // 7 % 30 + 2


def _seconds(value: Any) -> float:
    return max(float(value), 0.0) if isinstance(value, (int, float)) else 0.0
