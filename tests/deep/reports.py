"""What users of such services have reported, rebuilt small: each case is a member of a kind that was mended."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from doubletext import Client, DoubletextError, TooLarge
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import worker_service_pb2 as wpb
from doubletext.v1.run_service_pb2_grpc import RunServiceStub
from doubletext.v1.worker_service_pb2_grpc import WorkerServiceStub
from tests.deep.place import DOUBLETEXT, Cases, Place, Probe, Seen, end_of, started

REPORTS: Final = Cases()
FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
PROTOS: Final = Path(__file__).parents[2] / "protos"
NODE_CLIENT: Final = Path(__file__).parent / "pings.mjs"
NODE_PACKAGE: Final = Path(__file__).parents[2] / "examples" / "node-worker"


@REPORTS.case("the loop ended and the process stayed: every call hung, SIGTERM was ignored")
async def child_exit(place: Place) -> Seen:
    seen = []
    for graph in ("leaves", "later"):
        server = await place.serve(graphs=(graph,), db=f"{graph}.db")
        async with place.client(server) as client:
            run_id = await started(client, graph)
            await asyncio.wait_for(client.threads.create(), 5)
            seen.append((await end_of(client, run_id, 10))["status"])
        assert await server.end(signal.SIGTERM) == 0
    return Seen(seen == ["error", "success"], f"a child task that exits: {seen[0]}; a callback that does: {seen[1]}")


@REPORTS.case("the worker's other runs were left idle")
async def child_exit_worker(place: Place) -> Seen:
    server = await place.serve()
    worker = await place.worker(server, "leaves", "slow")
    async with place.client(server) as client:
        other = await started(client, "slow")
        culprit = await started(client, "leaves")
        ends = [(await end_of(client, run))["status"] for run in (other, culprit)]
    return Seen(
        worker.returncode is None and ends == ["success", "error"], f"the other run {ends[0]}, its own {ends[1]}"
    )


@REPORTS.case("the loop ended as stdout's reader was gone; health hung, SIGTERM was ignored")
async def stdout_gone(place: Place) -> Seen:
    reading, writing = os.pipe()
    os.close(reading)
    address = "127.0.0.1:0"
    log = (place.folder / "log").open("wb")
    command = (*DOUBLETEXT, "serve", "--db", str(place.folder / "d.db"), "--listen", address)
    server = await asyncio.create_subprocess_exec(*command, stdout=writing, stderr=log)
    os.close(writing)
    try:
        async with asyncio.timeout(30):
            while '"address": "' not in (said := (place.folder / "log").read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        address = said.split('"address": "')[1].split('"')[0]
        async with grpc.aio.insecure_channel(address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        server.terminate()
        code = await asyncio.wait_for(server.wait(), 10)
    finally:
        log.close()
        if server.returncode is None:
            server.kill()
    return Seen(health.status == 1 and code == 0, f"health {health.status}, SIGTERM: exit {code}")


@REPORTS.case("claim written, answer refused: one worker after another ended, and all threads starved")
async def large_thread_worker(place: Place) -> Seen:
    server = await place.serve("--lease", "3")
    workers = [await place.worker(server, "small") for _ in range(2)]
    async with place.client(server) as client:
        thread = (await client.threads.create())["thread_id"]
        for number in range(17):
            try:
                await client.threads.update_state(thread, {f"k{number}": "x" * (4 * 1024 * 1024 - 80_000)})
            except TooLarge:
                break
        large = (await client.runs.create(thread, "small"))["run_id"]
        other = await end_of(client, await started(client, "small"))
        run = await client.runs.get(None, large)
    alive = [worker.returncode for worker in workers] == [None, None]
    why = (run["error"] or {"type": ""})["type"]
    right = alive and (other["status"], run["status"], why) == ("success", "error", "TOO_LARGE")
    return Seen(right, f"its run {run['status']} {why}, another thread's {other['status']}, no worker died: {alive}")


@REPORTS.case("ten runs of other threads ended MAX_ATTEMPTS with the one that killed the process")
async def innocent_attempts(place: Place) -> Seen:
    server = await place.serve(graphs=("crash", "slow"))
    async with place.client(server) as client:
        others = [await started(client, "slow") for _ in range(10)]
        culprit = await started(client, "crash")
    deaths = 0
    while deaths < 10:
        try:
            await asyncio.wait_for(server.process.wait(), 10)
        except TimeoutError:
            break
        deaths += 1
        await server.start()
    async with place.client(server) as client:
        ends = [(await end_of(client, run))["status"] for run in others]
        last = await end_of(client, culprit)
    right = set(ends) == {"success"} and last["reason"] == "MAX_ATTEMPTS"
    return Seen(right, f"{deaths} deaths; the culprit {last['reason']}; of 10 others {ends.count('success')} success")


@REPORTS.case("terminating a forked child drained the server or the worker")
async def child_terminated(place: Place) -> Seen:
    seen = []
    for where in ("server", "worker"):
        server = await place.serve(graphs=("helper",) if where == "server" else (), db=f"{where}.db")
        if where == "worker":
            await place.worker(server, "helper")
        async with place.client(server) as client:
            seen += [(await end_of(client, await started(client, "helper")))["status"] for _ in range(2)]
    logs = "".join(log.read_text() for log in place.folder.glob("*.log"))
    return Seen(set(seen) == {"success"} and '"draining"' not in logs, f"runs {seen}, nothing drained")


@REPORTS.case("after kill -9 the next server was refused by one that did not exist")
async def orphan_lock(place: Place) -> Seen:
    server = await place.serve(graphs=("parent",))
    async with place.client(server) as client:
        joined = await client.runs.join(None, await started(client, "parent"))
    child = int(joined["state"]["values"]["pid"])
    await server.end()
    try:
        await server.start()
    finally:
        os.kill(child, signal.SIGKILL)
    return Seen(True, f"a forked child {child} lived on, and the next server started")


@REPORTS.case("executed three times, then MAX_ATTEMPTS")
async def blocking_worker(place: Place) -> Seen:
    server, effects = await place.serve(), place.folder / "effects"
    for _ in range(2):
        await place.worker(server, "crunch")
    async with place.client(server) as client:
        run = await end_of(client, await started(client, "crunch", input={"log": str(effects)}), 110)
    times = len(effects.read_text().splitlines())
    told = "crunch" in (place.folder / "worker.log").read_text()
    return Seen((run["status"], times, told) == ("success", 1, True), f"executed {times} times, {run['status']}")


@REPORTS.case("the second Ctrl-C on a draining worker did nothing")
async def second_interrupt(place: Place) -> Seen:
    server = await place.serve()
    worker = await place.worker(server, "slow", options=("--drain", "60"))
    async with place.client(server) as client:
        run_id = await started(client, "slow", input={"seconds": 50})
        while (await client.runs.get(None, run_id))["status"] == "pending":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        worker.send_signal(signal.SIGINT)
        await asyncio.sleep(1)
        worker.send_signal(signal.SIGINT)
        began = time.monotonic()
        code = await asyncio.wait_for(worker.wait(), 10)
        run = await client.runs.get(None, run_id)
    took = time.monotonic() - began
    return Seen(
        run["status"] == "pending", f"ended {took:.1f} s after the second, exit {code}, its run {run['status']}"
    )


@REPORTS.case("9007199254740993 was stored as …992, and a filter found another user's thread")
async def whole_numbers(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        thread = await client.threads.create(metadata={"chat": 9007199254740993})
        found = [one async for one in client.threads.list(metadata={"chat": 9007199254740992})]
        same = [one async for one in client.threads.list(metadata={"chat": 9007199254740993})]
    stored: Any = thread["metadata"]["chat"]
    return Seen((stored, len(found), len(same)) == (9007199254740993, 0, 1), f"stored as {stored}, found by it alone")


@REPORTS.case("2>&-: exit 1 and nothing printed; >&-: ended in SIGABRT")
async def closed_stdio(place: Place) -> Seen:
    codes: dict[str, int] = {}
    for closed in ("2>&-", ">&-", "0<&-", ">&- 2>&-"):
        log, db = place.folder / "log", place.folder / f"{len(codes)}.db"
        serve = f"exec {' '.join(DOUBLETEXT)} serve --db {db} --listen 127.0.0.1:0 2>{log} {closed}"
        process = await asyncio.create_subprocess_exec("sh", "-c", serve, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(30):
            while not db.exists() and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        if process.returncode is None:
            process.terminate()
        codes[closed] = await asyncio.wait_for(process.wait(), 20)
    return Seen(set(codes.values()) == {0}, f"exit codes after SIGTERM: {codes}")


async def joined_by(channel: grpc.aio.Channel, run_id: str, seconds: float) -> str:
    try:
        joined = await RunServiceStub(channel).JoinRun(rpb.JoinRunRequest(run_id=run_id), timeout=seconds)
        return pb.RunStatus.Name(joined.run.status)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {error.details()}"


@REPORTS.case("clients that ping every 10 s were cut off after 40 to 50 s with code 8")
async def pings(place: Place) -> Seen:
    server = await place.serve("--lease", "120")
    often = [
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5000),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with place.client(server) as client, grpc.aio.insecure_channel(server.address, often) as channel:
        run_id = await started(client, "agent", input={"sleep": 65})
        said = await joined_by(channel, run_id, 80)
    return Seen(said == "RUN_STATUS_SUCCESS", f"a join of 65 s: {said}")


async def node_joins(place: Place, mode: str) -> Seen:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return Seen(True, "skipped: node or npm is missing (install Node.js 20.3 or newer)")
    for file in ("package.json", "package-lock.json"):
        shutil.copy(NODE_PACKAGE / file, place.folder)
    npm = await asyncio.create_subprocess_exec("npm", "ci", "--prefer-offline", "--no-audit", cwd=place.folder)
    assert await npm.wait() == 0
    server = await place.serve()
    script = place.folder / NODE_CLIENT.name
    shutil.copy(NODE_CLIENT, script)
    command = ("node", str(script), server.address, str(PROTOS), mode)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = await process.communicate()
    return Seen(process.returncode == 0, said.decode().strip()[-300:])


@REPORTS.case("RESOURCE_EXHAUSTED after 40 to 50 s")
async def pings_of_node(place: Place) -> Seen:
    return await node_joins(place, "ping")


@REPORTS.case("a Node client that computes for 9 s lost its JoinRun with RESOURCE_EXHAUSTED")
async def busy_node(place: Place) -> Seen:
    return await node_joins(place, "busy")


@REPORTS.case("DeleteThread of 100 000 events stalled every other thread for 2 to 4 s")
async def delete_stalls(place: Place) -> Seen:
    server = await place.serve("--keep-per-thread", "1000000")
    async with place.client(server) as client, grpc.aio.insecure_channel(server.address) as channel:
        workers = WorkerServiceStub(channel)
        await client.assistants.create("w", assistant_id="w")
        run_id = await started(client, "w")
        claim = wpb.ClaimRunRequest(worker_id="hand", graphs=["w"], wait=Duration(seconds=2))
        lease = (await workers.ClaimRun(claim)).assignment.lease
        output = pb.Output(channel="token")
        output.data["text"] = "x" * 40
        for number in range(400):
            if number % 40 == 0:
                await workers.Heartbeat(wpb.HeartbeatRequest(lease=lease))
            await workers.PublishOutput(wpb.PublishOutputRequest(lease=lease, outputs=[output] * 250))
        run = await client.runs.cancel(None, run_id)
        async with Probe(client).going_on() as probe:
            began = time.monotonic()
            await client.threads.delete(run["thread_id"])
            took = time.monotonic() - began
            await asyncio.sleep(5)
    figure = f"it took {took:.2f} s; another thread's CreateRun: p99 {probe.p99:.3f} s, slowest {probe.slowest:.3f} s"
    return Seen(probe.slowest < 0.3, f"{figure} (before: {probe.usual:.3f} s)")


@REPORTS.case("after the wall clock was set forward delayed runs were late by that much until the restart")
async def clock_ahead(place: Place) -> Seen:
    if not FAKETIME.exists():
        return Seen(True, "skipped: there is no libfaketime (apt-get install libfaketime)")
    stamp = place.folder / "time"
    stamp.write_text("+0")
    env = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    server = await place.serve(env=env)
    async with place.client(server) as client:
        run_id = await started(client, "echo", input={"messages": []}, delay=600)
        stamp.write_text("+3600")
        run = await end_of(client, run_id, 15)
    return Seen(run["status"] == "success", f"due 50 minutes ago by the clock on the wall: {run['status']}")


@REPORTS.case("http_proxy: loopback went through the proxy, and the error did not say so")
async def proxy_variable(place: Place) -> Seen:
    server = await place.serve()
    names = ("no_proxy", "no_grpc_proxy", "grpc_proxy", "https_proxy")
    env = {key: value for key, value in os.environ.items() if key.lower() not in names}
    env |= {"http_proxy": "http://127.0.0.1:9", "DOUBLETEXT_SERVER": server.address}
    out = await place.command("thread", "list", env=env)
    return Seen(out.returncode == 0, f"exit {out.returncode} {out.stderr.decode()[-200:]}")


@REPORTS.case("stdout in latin-1: the run succeeded, yet exit 2 INVALID_ARGUMENT")
async def output_encoding(place: Place) -> Seen:
    server = await place.serve()
    env = {**os.environ, "PYTHONIOENCODING": "latin-1", "DOUBLETEXT_SERVER": server.address}
    arguments = ("run", "create", "t", "echo", "--create-thread", "--message", "in 東京", "--join")
    out = await place.command(*arguments, env=env)
    return Seen(out.returncode == 0, f"exit {out.returncode} {out.stderr.decode(errors='replace')[-200:]}")


@REPORTS.case("2, 20, 48 calls failed in a restart of 1.4, 4.3, 9.7 s")
async def restart_retries(place: Place) -> Seen:
    server = await place.serve()
    failed: list[str] = []
    done, over = 0, asyncio.Event()

    async def use() -> None:
        nonlocal done
        async with Client(server.address) as client:
            thread = (await client.threads.create())["thread_id"]
            while not over.is_set():
                try:
                    run = await client.runs.create(thread, "echo", input={"messages": []})
                    await client.runs.join(thread, run["run_id"])
                    done += 1
                except DoubletextError as error:
                    failed.append(f"{type(error).__name__}: {error}"[:90])
                await asyncio.sleep(0.05)

    users = [asyncio.create_task(use()) for _ in range(8)]
    await asyncio.sleep(2)
    await server.end(signal.SIGTERM)
    await asyncio.sleep(9)
    await server.start()
    await asyncio.sleep(4)
    over.set()
    await asyncio.gather(*users)
    return Seen(not failed and done > 0, f"a restart of 10 s: {done} answered, {len(failed)} failed {failed[:1]}")


@REPORTS.case("the -wal stayed at 63 MB after an outside reader had gone")
async def wal_stays(place: Place) -> Seen:
    server = await place.serve()
    wal = place.folder / "d.db-wal"
    async with place.client(server) as client:

        async def one(until: float) -> None:
            while time.monotonic() < until:
                said = {"messages": [{"role": "user", "content": "x" * 20_000}]}
                await client.runs.join(None, await started(client, "echo", input=said))

        async def load(seconds: float) -> int:
            await asyncio.gather(*(one(time.monotonic() + seconds) for _ in range(8)))
            return wal.stat().st_size

        usual = await load(2)
        reader = sqlite3.connect(f"file:{place.folder / 'd.db'}?mode=ro", uri=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        held = await load(6)
        reader.close()
        await load(3)
        await asyncio.sleep(2)
        after = wal.stat().st_size
    figure = f"usual {usual / 1e6:.0f} MB, with the reader {held / 1e6:.0f} MB, after it {after / 1e6:.0f} MB"
    return Seen(after < max(2 * usual, 16_000_000), figure)
