"""A chat in which one may write again while the answer is being written: its agent and the web server of its page."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import Body, FastAPI, Header, HTTPException
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from doubletext import Client, Context, EventsTrimmed, RunNotFound, ThreadBusy, ThreadExists, graph
from doubletext.types import MultitaskStrategy

ANSWER = "A weekend in {}, then. On Saturday, get lost in the old town. On Sunday, see a museum and watch the sun set."
app, client = FastAPI(), Client(os.environ.get("DOUBLETEXT_SERVER", "127.0.0.1:50051"))


@graph
async def agent(ctx: Context) -> AsyncIterator[dict[str, Any]]:
    """Stands in for a model: shows its answer word by word, and commits it sentence by sentence."""
    place, answer = ctx.input["messages"][-1]["content"].rstrip(" .!?").split(" ")[-1], ""
    for word in ANSWER.format(place).split():
        await ctx.emit("token", {"text": f"{word} "})
        await asyncio.sleep(ctx.config.get("pause", 0.25))  # seconds
        answer += f"{word} "
        if word.endswith("."):  # a message whose id is known replaces the shorter one
            yield {"messages": [{"id": ctx.run["run_id"], "role": "assistant", "content": answer}]}


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(Path(__file__).with_suffix(".html"))


@app.post("/chats/{chat}/messages", status_code=201)
async def say(chat: str, strategy: MultitaskStrategy, text: str = Body(embed=True)) -> dict[str, Any]:
    said = {"messages": [{"role": "user", "content": text}]}
    try:
        return dict(await client.runs.create(chat, "agent", input=said, multitask_strategy=strategy))
    except ThreadBusy as busy:  # the strategy is "reject"; `metadata` names the run that is in the way
        raise HTTPException(409, busy.metadata) from busy


@app.get("/chats/{chat}/events", response_class=EventSourceResponse)
async def events(chat: str, last_event_id: int = Header(0)) -> AsyncIterator[ServerSentEvent]:
    with suppress(ThreadExists):
        await client.threads.create(chat)
    try:
        async for event in client.threads.watch(chat, after_sequence=last_event_id):
            data = dict(event)
            if event["kind"] == "run_changed":
                with suppress(RunNotFound):  # it has been rolled back
                    data["run"] = await client.runs.get(chat, event["run_id"])
            yield ServerSentEvent(id=str(event["sequence"]), data=data, retry=1000)
    except EventsTrimmed as error:  # what is older is no longer kept
        async for later in events(chat, error.oldest_sequence - 1):
            yield later
