"""The task as a workflow of DBOS, in an app that is asked over a socket, one JSON object a line.

`python -m bench.peers.systems.dbos_app PORT FOLDER POLLING_SECONDS`
"""

import asyncio
import json
import sys
from typing import Any

from dbos import DBOS, SetEnqueueOptions, error

from bench.peers.journal import work

LINES, DOORS = "lines", "doors"
newest: dict[str, str] = {}  # the id of each thread's last workflow: the one that an interrupt cancels


@DBOS.step()
async def step(thread: str, number: int, place: int, seconds: float) -> None:
    await work(thread, number, place, seconds)


@DBOS.workflow()
async def task(thread: str, number: int, steps: int, seconds: float) -> None:
    for place in range(steps):
        await step(thread, number, place, seconds)


async def create(thread: str, number: int, steps: int, seconds: float, strategy: str) -> str:
    """The workflow's id; empty when it was refused."""
    if strategy == "interrupt" and thread in newest:
        await DBOS.cancel_workflow_async(newest[thread])
    # Deduplication is not to be had on a partitioned queue.
    rejects = strategy == "reject"
    try:
        with SetEnqueueOptions(**({"deduplication_id": thread} if rejects else {"queue_partition_key": thread})):
            handle: Any = await DBOS.enqueue_workflow_async(
                DOORS if rejects else LINES, task, thread, number, steps, seconds
            )
    except error.DBOSQueueDeduplicatedError:
        return ""
    newest[thread] = handle.get_workflow_id()
    return newest[thread]


async def join(workflow: str, polling: float) -> None:
    handle: Any = await DBOS.retrieve_workflow_async(workflow)
    await handle.get_result(polling_interval_sec=polling)


async def serve(port: int, polling: float) -> None:
    # Calls of one connection are carried out at the same time, each answered with its id when it is done.
    async def answer(line: bytes, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(line)
        call = create(**asked["create"]) if "create" in asked else join(asked["join"], polling)
        try:
            told = {"id": asked["id"], "answer": await call}
        except Exception as failure:  # noqa: BLE001 - the caller is told
            told = {"id": asked["id"], "error": repr(failure)}
        writer.write(json.dumps(told).encode() + b"\n")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.TaskGroup() as calls:
            while line := await reader.readline():
                calls.create_task(answer(line, writer))

    async with await asyncio.start_server(talk, "127.0.0.1", port) as server:
        await server.serve_forever()


def main(port: int, folder: str, polling: float) -> None:
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "log_level": "WARNING"})
    DBOS.launch()
    DBOS.register_queue(LINES, partition_concurrency=1, polling_interval_sec=polling)
    DBOS.register_queue(DOORS, polling_interval_sec=polling)
    asyncio.run(serve(port, polling))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
