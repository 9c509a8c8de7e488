"""Plays each strategy with each queue policy that it may have, on a real server, and draws what its events tell."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from doubletext import Client, DoubletextError, types
from doubletext.calls import open_channel
from doubletext.v1 import worker_service_pb2 as pb
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from doubletext_statemachine.strategies import STRATEGIES

PAGE: Final = Path(__file__).parents[1] / "docs" / "strategies.md"
GRAPHS: Final = ("mine", "other")
ENDS: Final = {"success": "✓", "interrupted": "✗", "deleted": "⌫", "merged": "↣", "error": "!", "timeout": "!"}


class Stage:
    """A thread on which R runs, and P and O wait; P is of R's assistant, and of that of the new run N. O is not."""

    def __init__(self, client: Client, workers: Any, thread_id: str) -> None:
        self.client, self.workers, self.thread_id = client, workers, thread_id
        self.names: dict[str, str] = {}

    async def say(self, name: str, assistant: str = "mine", **more: Any) -> None:
        content = {"messages": [{"role": "user", "content": name}]}
        run = await self.client.runs.create(self.thread_id, assistant, input=content, **more)
        if not run["joined"]:
            self.names[run["run_id"]] = name

    async def claim(self) -> pb.Assignment | None:
        answer = await self.workers.ClaimRun(pb.ClaimRunRequest(worker_id="hand", graphs=GRAPHS))
        return answer.assignment if answer.HasField("assignment") else None

    async def step(self, held: pb.Assignment, absorb: list[str] | None = None) -> None:
        text = '{"messages":[{"role":"assistant","content":"step"}]}'
        await self.workers.CommitStep(pb.CommitStepRequest(lease=held.lease, update_json=text, absorb=absorb))

    async def finish(self, held: pb.Assignment) -> None:
        await self.workers.FinishRun(pb.FinishRunRequest(lease=held.lease, success=pb.Success()))


async def play(client: Client, workers: Any, strategy: Any, policy: Any) -> list[str]:
    stage = Stage(client, workers, f"{strategy}-{policy}")
    await client.threads.create(stage.thread_id)
    await stage.say("R")
    held = await stage.claim()
    assert held is not None
    await stage.say("P")
    await stage.say("O", "other")
    await stage.step(held)
    try:
        await stage.say("N", multitask_strategy=strategy, queue_policy=policy)
    except DoubletextError as refused:
        stage.names["refused"] = f"N is refused: {refused.reason}"
    offered = [run_id for run_id, name in stage.names.items() if name == "N"]
    if (await client.threads.get(stage.thread_id))["active_run_id"] == held.run.run_id:
        await stage.step(held, offered)
        await stage.finish(held)
    else:
        await workers.ReleaseRun(pb.ReleaseRunRequest(lease=held.lease))
    while (held := await stage.claim()) is not None:
        await stage.step(held)
        await stage.finish(held)
    events = [event async for event in told(client, stage.thread_id)]
    state = await client.threads.get_state(stage.thread_id)
    said = [message["content"] for message in state["values"].get("messages", []) if message["role"] == "user"]
    return [*drawn(stage.names, events), f"said, in the end: {' '.join(said)}"]


async def told(client: Client, thread_id: str) -> Any:
    """The events so far: the last one is the end of a run after which none is in flight."""
    flying = 0
    async for event in client.threads.watch(thread_id):
        yield event
        changed = event.get("run_changed")
        flying += 0 if changed is None else (changed["from"] is None) - (changed["to"] in ENDS)
        if changed and changed["from"] == "merged":
            flying += 1
        if not flying:
            return


def drawn(names: dict[str, str], events: list[types.Event]) -> Iterator[str]:
    """A row for each run, and a column for each event: see the page."""
    for run_id, name in names.items():
        if run_id == "refused":
            continue
        row, state, end = "", " ", ""
        for event in events:
            mine = event["run_id"] == run_id
            mark = ""
            if mine and (changed := event.get("run_changed")) is not None:
                state = {"pending": "·", "running": "█"}.get(changed["to"], " ")
                if changed["to"] in ENDS:
                    mark, end = ENDS[changed["to"]], changed["to"].upper()
            elif mine and "step_committed" in event:
                mark = "▪"
            row += mark or state
        yield f"{name}  {row.rstrip()}  {end}"
    if "refused" in names:
        yield names["refused"]


def cells() -> Iterator[tuple[str, str | None]]:
    for strategy, rules in STRATEGIES.items():
        for policy in rules.policies or (None,):
            yield strategy.value, policy and policy.value


async def drawings() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "doubletext", "serve", "--listen", "127.0.0.1:0", "--db", f"{folder}/drawn.db")
        log = (Path(folder) / "log").open("wb")
        server = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=log
        )
        try:
            assert server.stdout is not None
            address = (await server.stdout.readline()).decode().split()[-1]
            async with Client(address) as client, open_channel(address, None) as channel:
                for graph in GRAPHS:
                    await client.assistants.create(graph, assistant_id=graph)
                workers = WorkerServiceStub(channel)
                return {
                    f"{strategy} {policy or ''}".strip(): "\n".join(await play(client, workers, strategy, policy))
                    for strategy, policy in cells()
                }
        finally:
            server.terminate()
            await server.wait()
            log.close()


def main() -> None:
    text = page = PAGE.read_text()
    for name, drawing in asyncio.run(drawings()).items():
        begin, end = f"<!-- timeline: {name} -->\n```text\n", "```\n"
        before, found, rest = page.partition(begin)
        if not found:
            sys.exit(f"docs/strategies.md has no place for the timeline of {name}: {begin!r}")
        page = f"{before}{begin}{drawing}\n{end}{rest.partition(end)[2]}"
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page)
    elif page != text:
        sys.exit("the timelines in docs/strategies.md are stale: run scripts/gen_strategies and commit")


if __name__ == "__main__":
    main()
