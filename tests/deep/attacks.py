"""What a stranger who reaches the port can do: each attack is bounded, and others must be served meanwhile."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from doubletext import Client, DoubletextError
from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from tests.deep.place import DOUBLETEXT, Cases, Place, Probe, Seen, Served, end_of, started
from tests.support.wire import Reply, Wire, framed

ATTACKS: Final = Cases()
MIB: Final = 1024 * 1024
LARGEST_MESSAGE: Final = 5 * MIB


async def asked(server: Served, method: str, request: Message, body: bytes | None = None) -> str:
    """What a call of this method is answered, in a word; `body` takes the place of the request's bytes."""
    service = next(
        name
        for name, module in (("Run", rpb), ("Thread", tpb), ("Worker", wpb), ("Assistant", apb))
        if method in module.DESCRIPTOR.services_by_name[f"{name}Service"].methods_by_name
    )
    async with grpc.aio.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call: Any = channel.unary_unary(f"/doubletext.v1.{service}Service/{method}")
        try:
            await call(request.SerializeToString() if body is None else body, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"


async def served_meanwhile(client: Client, server: Served, attack: Any) -> tuple[Any, str, float]:
    """The attack's result; what it cost, in words; and the slowest call of others while it was played, in seconds."""
    cpu, resident = server.cpu, server.resident
    async with Probe(client).going_on() as probe:
        result = await attack
    used, grown = server.cpu - cpu, (server.resident - resident) / MIB
    figure = f"slowest call of others {probe.slowest:.2f} s (before: {probe.usual:.2f} s)"
    return result, f"{figure}, {used:.1f} s CPU, {grown:+.0f} MiB", probe.slowest


@ATTACKS.case("no new call was accepted while the stranger's stream was open")
async def a01_path_that_is_no_text(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        thread = (await client.threads.create())["thread_id"]
        wire = await Wire.open(server.address)
        watch = tpb.WatchThreadRequest(thread_id=thread).SerializeToString()
        stream = wire.begin(wire.headers("/doubletext.v1.ThreadService/WatchThread"))
        await wire.send(stream, framed(watch))
        reply = await wire.ask(wire.headers(b"/\xff\xfe"), framed(b""))
        began = time.monotonic()
        async with Client(server.address, retry_for=0) as other:
            await asyncio.wait_for(other.threads.create(), 5)
        took = time.monotonic() - began
        await wire.close()
    return Seen(reply.status == 12, f"the path is UNIMPLEMENTED; the next new connection is answered in {took:.2f} s")


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@ATTACKS.case("10.7 to 20 s stall, 8 s CPU")
async def a02_expression_that_backtracks(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        run_id = await started(client, "echo")
        await end_of(client, run_id)
        attack = started(client, "agent", input=said("in" + " " * 20_000))
        _, figure, slowest = await served_meanwhile(client, server, attack)
    return Seen(slowest < 1, figure)


@ATTACKS.case("SIGTERM not obeyed in 4 s, and the recovered run stopped the next process too")
async def a03_the_same_and_a_restart(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        runs = [await started(client, "agent", input=said("in" + " " * 60_000)) for _ in range(4)]
        began = time.monotonic()
        await server.end(signal.SIGTERM, 10)
        obeyed = time.monotonic() - began
        await server.start()
        began = time.monotonic()
        await client.threads.create()
        answered = time.monotonic() - began
        ends = {(await end_of(client, run))["status"] for run in runs}
    right = obeyed < 6 and answered < 5 and ends == {"success"}
    return Seen(
        right, f"SIGTERM obeyed in {obeyed:.1f} s, the next process answers after {answered:.2f} s, runs {ends}"
    )


async def deaf_calls(server: Served, path: str, request: Message, count: int, stack: AsyncExitStack) -> list[Reply]:
    """So many calls whose answers are never taken, at most 200 to a connection."""
    replies = []
    body = framed(request.SerializeToString())
    for begin in range(0, count, 200):
        wire = await Wire.open(server.address, deaf=True)
        stack.push_async_callback(wire.close)
        for _ in range(min(200, count - begin)):
            stream = wire.begin(wire.headers(path))
            await wire.send(stream, body)
            replies.append(wire.reply_of(stream))
    return replies


@ATTACKS.case("46.7 MiB a call at 12 MiB of state; 611 of 1400 MiB still resident 4 s after hanging up")
async def a05_states_that_nobody_reads(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        thread = (await client.threads.create())["thread_id"]
        for number in range(4):
            await client.threads.update_state(thread, {f"k{number}": "x" * (3 * MIB)})
        before = server.resident
        async with AsyncExitStack() as stack:
            request = tpb.GetStateRequest(thread_id=thread)
            replies = await deaf_calls(server, "/doubletext.v1.ThreadService/GetState", request, 200, stack)
            async with asyncio.timeout(120):
                while sum(reply.done.is_set() for reply in replies) < 170:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            refused_calls = sum(reply.status == 8 for reply in replies)
            held = await settled(server)
            run = await end_of(client, await started(client, "echo"))
            try:
                async with Client(server.address, retry_for=0) as impatient:
                    await impatient.threads.get_state(thread)
                refused = "not refused"
            except DoubletextError as error:
                refused = type(error).__name__
        after = await settled(server)
        await client.threads.get_state(thread)
    holds, keeps = (held - before) / MIB, (after - before) / MIB
    figure = f"200 calls, of which {refused_calls} are refused, hold {holds:.0f} MiB, {keeps:.0f} MiB after hanging up"
    right = held - before < 1400 * MIB and run["status"] == "success" and refused == "Overloaded"
    return Seen(right, f"{figure}; meanwhile a run {run['status']}, one more GetState {refused}")


async def settled(server: Served) -> int:
    """Its memory once it changes no more, in bytes."""
    last = -1
    while (now := server.resident) > last:
        last = now
        await asyncio.sleep(1)
    return now


@ATTACKS.case("30 MiB a stream, no end of streams")
async def a06_requests_that_never_end(place: Place) -> Seen:
    server = await place.serve()
    grown = {}
    async with place.client(server) as client, AsyncExitStack() as stack:
        for length in (31 * MIB, LARGEST_MESSAGE):
            before = server.resident
            for _ in range(2):
                wire = await Wire.open(server.address)
                stack.push_async_callback(wire.close)
                for _ in range(20):
                    stream = wire.begin(wire.headers("/doubletext.v1.ThreadService/CreateThread"))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await wire.send(stream, framed(b"x" * (length - 10), length=length), end=False)
            grown[length] = (await settled(server) - before) / MIB / 40
        await asyncio.wait_for(client.threads.create(), 5)
    figure = ", ".join(f"{length // MIB} MiB: {size:.1f} MiB a stream" for length, size in grown.items())
    return Seen(grown[31 * MIB] < 3 and grown[LARGEST_MESSAGE] < 12, f"declared {figure}")


@ATTACKS.case("7 to 8 ms stall and 361 to 390 kB memory per kB")
async def a07_statuses_without_end(place: Place) -> Seen:
    server = await place.serve()
    body = b"\x12" + b"\x80\x80\xfa\x01" + b"\x7f" * 4_096_000
    async with place.client(server) as client:
        attack = asked(server, "ListRuns", rpb.ListRunsRequest(), body)
        code, figure, slowest = await served_meanwhile(client, server, attack)
    return Seen(code == "INVALID_ARGUMENT" and slowest < 1, f"4 MB: {code}, {figure}")


@ATTACKS.case("26 bytes held per byte sent, 1.1 s CPU a claim, waits of 300 days")
async def a08_claims_of_500_000_graphs(place: Place) -> Seen:
    server = await place.serve()
    request = wpb.ClaimRunRequest(worker_id="w", graphs=["g"] * 500_000, wait=Duration(seconds=10))
    long = wpb.ClaimRunRequest(worker_id="w", graphs=["g"], wait=Duration(seconds=300 * 86400))
    async with place.client(server) as client:
        code, figure, slowest = await served_meanwhile(client, server, asked(server, "ClaimRun", request))
        waits = await asked(server, "ClaimRun", long)
    right = code == waits == "INVALID_ARGUMENT" and slowest < 1
    return Seen(right, f"{code}, {figure}; a wait of 300 days {waits}")


@ATTACKS.case("p99 8.6 to 11 s for others, +493 to 531 MiB")
async def a09_rapid_reset(place: Place) -> Seen:
    server = await place.serve()
    body = framed(tpb.CreateThreadRequest(thread_id="t").SerializeToString())

    async def attack() -> None:
        wires = [await Wire.open(server.address) for _ in range(4)]
        for _ in range(2_500):
            for wire in wires:
                if not wire.gone:
                    stream = wire.begin(wire.headers("/doubletext.v1.ThreadService/GetThread"))
                    await wire.send(stream, body)
                    wire.reset(stream)
            await asyncio.sleep(0)
        for wire in wires:
            await wire.close()

    async with place.client(server) as client:
        _, figure, slowest = await served_meanwhile(client, server, attack())
    return Seen(slowest < 12, f"10 000 on 4 connections: {figure} (bounded by the calls that wait; not refused)")


@ATTACKS.case("0.7 to 2.5 ms CPU per kB; a GetState of 60 bytes: 2.5 s stall for 3 MB")
async def a10_objects_of_small_values(place: Place) -> Seen:
    server = await place.serve()
    small = tpb.UpdateStateRequest(thread_id="t", values_json='{"a":[' + ",".join(["0"] * 1_500_000) + "]}")
    most = tpb.UpdateStateRequest(thread_id="t", values_json='{"a":[' + ",".join(["0"] * 200_000) + "]}")
    async with place.client(server) as client:
        await client.threads.create("t")
        code, figure, slowest = await served_meanwhile(client, server, asked(server, "UpdateState", small))
        kept, taken, slow = await served_meanwhile(client, server, asked(server, "UpdateState", most))
        read = asked(server, "GetState", tpb.GetStateRequest(thread_id="t"))
        _, got, slower = await served_meanwhile(client, server, read)
    right = (code, kept) == ("INVALID_ARGUMENT", "OK") and max(slowest, slow, slower) < 1.5
    return Seen(right, f"1.5 M values: {code}, {figure}; 200 000: {kept}, {taken}; read as Struct: {got}")


@ATTACKS.case("1.85 MiB kept per MiB for ever; a list call of 3 bytes cost 0.4 s CPU")
async def a11_assistants_hoarded(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        before = server.resident
        for number in range(200):
            config = {"a": "x" * 250_000}
            await client.assistants.create("echo", assistant_id=f"a{number}", config=config)
            await client.assistants.delete(f"a{number}")
        grown = (await settled(server) - before) / MIB
        cpu = server.cpu
        found = [one async for one in client.assistants.list()]
        listing = server.cpu - cpu
    figure = f"48 MiB made and deleted: {grown:+.0f} MiB; ListAssistants of {len(found)} {listing * 1000:.0f} ms CPU"
    return Seen(grown < 30 and listing < 0.1, figure)


@ATTACKS.case("6000 of 6000 to one connection, 23 to 25 kB each; then no claim or lease got in")
async def a12_one_fills_the_waiting_room(place: Place) -> Seen:
    server = await place.serve(graphs=("slow",))
    async with place.client(server) as client, AsyncExitStack() as stack:
        run_id = await started(client, "slow", input={"seconds": 60})
        before = server.resident
        request = rpb.JoinRunRequest(run_id=run_id).SerializeToString()
        wire = await Wire.open(server.address)
        stack.push_async_callback(wire.close)
        body, headers = framed(request), wire.headers("/doubletext.v1.RunService/JoinRun")
        streams = [wire.begin(headers) for _ in range(1000)]  # before the server has said how many it lets
        for stream in streams:
            await wire.send(stream, body)
        await asyncio.sleep(1)
        count = sum(not wire.reply_of(stream).done.is_set() for stream in streams)
        each = (server.resident - before) / 1000 / max(count, 1)
        claim = wpb.ClaimRunRequest(worker_id="w", graphs=["g"], wait=Duration(seconds=0))
        code = await asked(server, "ClaimRun", claim)
    return Seen(
        count <= 256 and code == "OK", f"{count} of 1000 to one connection, {each:.0f} kB each; a claim is {code}"
    )


@ATTACKS.case("0 of 3 good runs done behind 1100 sleepers")
async def a13_sleepers(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        many = [started(client, "agent", input={**said("in sf"), "sleep": 3600}) for _ in range(1100)]
        answers = await asyncio.gather(*many, return_exceptions=True)
        asked_for = sum(isinstance(answer, str) for answer in answers)
        began = time.monotonic()
        good = [await end_of(client, await started(client, "agent", input=said("in sf")), 60) for _ in range(3)]
        took = time.monotonic() - began
    done = sum(run["status"] == "success" for run in good)
    return Seen(done == 3, f"{asked_for} sleepers taken; {done} of 3 good runs done, in {took:.1f} s")


@ATTACKS.case("75 to 231 ms stall per 1000 runs; queues of a million were allowed")
async def a15_a_queue_ended_at_once(place: Place) -> Seen:
    server = await place.serve("--max-queued-runs", "10000", graphs=("hold",))
    async with place.client(server) as client:
        thread = (await client.threads.create())["thread_id"]
        create = client.runs.create
        await create(thread, "hold")
        for _ in range(60):
            await asyncio.gather(*(create(thread, "echo", multitask_strategy="enqueue") for _ in range(100)))
        attack = create(thread, "echo", multitask_strategy="rollback")
        _, figure, slowest = await served_meanwhile(client, server, attack)
        million = await asked(server, "CreateThread", tpb.CreateThreadRequest(max_queued_runs=1_000_000))
    right = slowest < 1.2 and million == "INVALID_ARGUMENT"
    return Seen(right, f"6000 ended: {slowest / 6 * 1000:.0f} ms per 1000; {figure}; a queue of a million {million}")


@ATTACKS.case("600 descriptors, 900 connections: not served in 15 s")
async def a16_idle_connections(place: Place) -> Seen:
    server = await place.serve(prefix=("prlimit", "--nofile=700:700"))
    host, _, port = server.address.rpartition(":")
    silent = []
    try:
        for _ in range(900):
            with suppress(OSError):
                silent.append((await asyncio.wait_for(asyncio.open_connection(host, int(port)), 5))[1])
        began = time.monotonic()
        async with place.client(server) as client:
            await asyncio.wait_for(client.threads.create(), 30)
        took = time.monotonic() - began
    finally:
        for writer in silent:
            writer.close()
    return Seen(took < 15, f"700 descriptors, {len(silent)} connections: served after {took:.1f} s")


@ATTACKS.case("neither counted nor closed: 23 kB a stream, p99 1.2 s while 4000 were open")
async def a17_health_and_reflection(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client, AsyncExitStack() as stack:
        before = server.resident
        request = health_pb2.HealthCheckRequest(service="")
        attack = deaf_calls(server, "/grpc.health.v1.Health/Watch", request, 4000, stack)
        _, figure, slowest = await served_meanwhile(client, server, attack)
        grown = (server.resident - before) / MIB
    return Seen(slowest < 1.5 and grown < 120, f"4000 streams of which 1000 have room: {figure}")


@ATTACKS.case("1.6 MB a stream")
async def a18_watches_that_nobody_reads(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client, AsyncExitStack() as stack:
        thread = (await client.threads.create())["thread_id"]
        for number in range(6):
            await client.threads.update_state(thread, {"k": f"{number}" * MIB})
        before = server.resident
        request = tpb.WatchThreadRequest(thread_id=thread, after_sequence=0)
        path = "/doubletext.v1.ThreadService/WatchThread"
        attack = deaf_calls(server, path, request, 100, stack)
        _, figure, slowest = await served_meanwhile(client, server, attack)
        each = (await settled(server) - before) / MIB / 100
    return Seen(slowest < 1.5 and each < 8, f"{each:.1f} MiB a stream; {figure}")


@ATTACKS.case("6.5 bytes of disk per byte")
async def a19_control_characters(place: Place) -> Seen:
    server = await place.serve()
    async with place.client(server) as client:
        thread = (await client.threads.create())["thread_id"]
        before = size_of(place.folder)
        try:
            await client.threads.update_state(thread, {"a": "\x01" * (3 * MIB)})
            refused = "taken"
        except DoubletextError as error:
            refused = type(error).__name__
        await client.threads.update_state(thread, {"a": "\x01" * 600_000})
        grown = size_of(place.folder) - before
    return Seen(
        refused == "TooLarge" and grown < 12 * 600_000, f"3 MiB {refused}; {grown / 600_000:.1f} bytes per byte"
    )


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("d.db*") if file.suffix != ".log")


@ATTACKS.case("a graph's error was printed raw: title, clear screen, links")
async def a20_escapes_on_a_terminal(place: Place) -> Seen:
    leader, follower = os.openpty()
    from tests.deep.place import named

    command = (*DOUBLETEXT, "serve", "--db", str(place.folder / "d.db"), "--listen", "127.0.0.1:0")
    server = await asyncio.create_subprocess_exec(*command, *named(("escapes",)), stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        async with asyncio.timeout(30):
            while b"listening on " not in shown:
                shown += await asyncio.to_thread(os.read, leader, 65536)
            address = shown.split(b"listening on ")[1].split()[0].decode()
            async with Client(address) as client:
                await end_of(client, await started(client, "escapes"))
            server.terminate()
            with suppress(OSError):
                while more := await asyncio.to_thread(os.read, leader, 65536):
                    shown += more
        await server.wait()
    finally:
        os.close(leader)
        if server.returncode is None:
            server.kill()
    obeyed = [what for what in (b"\x1b]0;title", b"\x1b[2J", b"\x07") if what in shown]
    return Seen(b"bad" in shown and not obeyed, f"sequences that reached the terminal: {len(obeyed)}")


@ATTACKS.case("`doubletext demo` imported server.py of the folder it was started in")
async def a21_a_folder_with_server_py(place: Place) -> Seen:
    for name in ("server.py", "doubletext_server.py", "statemachine.py", "grpc.py"):
        (place.folder / name).write_text("raise SystemExit('hijacked')\n")
    script = Path(DOUBLETEXT[0]).parent / "doubletext"
    process = await asyncio.create_subprocess_exec(
        *(str(script), "demo"),
        cwd=place.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return Seen(process.returncode == 0 and b"hijacked" not in out, f"demo: exit {process.returncode}")


@ATTACKS.case("served without a word, and -wal and -shm inherited its mode")
async def a22_a_file_that_others_read(place: Place) -> Seen:
    db = place.folder / "d.db"
    server = await place.serve()
    await server.end(signal.SIGTERM)
    db.chmod(0o666)
    out = await place.command("serve", "--db", str(db), "--listen", "127.0.0.1:0")
    return Seen(out.returncode != 0 and b"db-mode" in out.stderr, f"exit {out.returncode}: {out.stderr.decode()[:150]}")


@ATTACKS.case("30 to 37 of 300 scrapers got in within 12 s; a thread for each connection, for ever")
async def a23_the_metrics_port(place: Place) -> Seen:
    server = await place.serve("--metrics", "127.0.0.1:0")
    told = next(line for line in server.log.read_text().splitlines() if '"metrics"' in line)
    port = int(json.loads(told)["address"].rpartition(":")[2])
    silent = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(300)]
    try:
        began = time.monotonic()
        async with asyncio.timeout(60):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
                with suppress(ConnectionError):
                    if (await reader.read()).startswith(b"HTTP/1"):
                        break
                writer.close()
                await asyncio.sleep(0.2)
        took = time.monotonic() - began
    finally:
        for writer in silent:
            writer.close()
    threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
    return Seen(
        took < 30 and threads < 100, f"behind 300 silent connections answered after {took:.1f} s, {threads} threads"
    )


@ATTACKS.case("0.9 s CPU for 1.1 MB, kept for ever")
async def a24_reducers_of_100_000_keys(place: Place) -> Seen:
    server = await place.serve()
    request = apb.CreateAssistantRequest(graph="echo", reducers={f"k{n}": pb.REDUCER_APPEND for n in range(100_000)})
    async with place.client(server) as client:
        attack = asked(server, "CreateAssistant", request)
        code, figure, slowest = await served_meanwhile(client, server, attack)
    return Seen(code == "INVALID_ARGUMENT" and slowest < 1, f"{code}, {figure}")


@ATTACKS.case("letters that hide or turn text passed all verbs")
async def a25_letters_that_hide(place: Place) -> Seen:
    hidden: Sequence[int] = (*range(0x200B, 0x2010), 0x061C, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    text = "".join(chr(code) for code in (*hidden, 0xE0041, 0x1B, 0x9B))
    server = await place.serve()
    env = {**os.environ, "DOUBLETEXT_SERVER": server.address}
    async with place.client(server) as client:
        thread = await client.threads.create("t", metadata={"name": text})
        await client.threads.update_state(thread["thread_id"], said(text))
    shown = [
        (await place.command(*verb, env=env)).stdout.decode() for verb in (("thread", "list"), ("state", "get", "t"))
    ]
    passed = sorted({letter for out in shown for letter in text if letter in out})
    return Seen(not passed, f"{len(text) - len(passed)} of {len(text)} are shown as escapes")
