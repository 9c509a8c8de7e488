"""Where Prometheus asks: the port, from the server's start to its stop, and the list of all that it is told."""

import asyncio
import http.client
import re
import socket
import sqlite3
import threading
import urllib.error
from pathlib import Path
from typing import Final

import grpc
import pytest

from doubletext.v1 import thread_service_pb2
from doubletext_server.address import CannotListen
from doubletext_server.app import App
from doubletext_server.config import Config
from doubletext_server.ops import scraping
from tests.rpc.metered_server import played, scrape
from tests.support.clock import ManualClock
from tests.support.rpcs import METHODS, call
from tests.support.server import serving

DOCS: Final = Path(__file__).parents[2] / "docs" / "operations.md"


async def test_nothing_is_measured_unless_asked_for(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db") as service:
        assert (service.app.metrics, service.app.metrics_address) == (None, None)
        assert service.sqlite.writer.observe is None


async def test_two_servers_in_a_process_count_for_themselves(tmp_path: Path) -> None:
    async with played(tmp_path / "one.db", ManualClock()) as one, played(tmp_path / "other.db", ManualClock()) as other:
        await one.create("t", assistant="echo", delay=60)
        assert await one.told("runs_in_flight") == {'runs_in_flight{status="pending"}': 1}
        assert await other.told("admissions_total", "runs_.*") == {}


async def test_the_port_is_open_until_the_server_has_stopped(tmp_path: Path) -> None:
    async with played(tmp_path / "test.db", ManualClock()) as scene:
        address = scene.service.app.metrics_address
        assert address is not None
        scene.service.app.edge.closed = "stopping"
        await scene.text()
    with pytest.raises(urllib.error.URLError, match="refused"):
        await asyncio.to_thread(scrape, address)


async def test_a_server_whose_metrics_port_is_taken_lets_go_of_all_else(tmp_path: Path) -> None:
    db = str(tmp_path / "other.db")
    async with played(tmp_path / "test.db", ManualClock()) as scene:
        taken = scene.service.app.metrics_address
        with pytest.raises(CannotListen, match=rf"cannot listen on {taken}: the port is taken.*--metrics HOST:PORT"):
            await App.start(Config("127.0.0.1:0", db, {}, metrics=taken))
    app = await App.start(Config("127.0.0.1:0", db, {}, metrics="127.0.0.1:0"))
    address, metrics_address = app.address, app.metrics_address
    await app.stop()
    with pytest.raises(CannotListen, match="no-such-port"):
        await App.start(Config(address, db, {}, metrics="127.0.0.1:no-such-port"))
    again = await App.start(Config(address, db, {}, metrics=metrics_address))
    assert (again.address, again.metrics_address) == (address, metrics_address)
    await again.stop()


async def test_a_server_that_cannot_recover_closes_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[App] = []

    async def fails(app: App) -> None:
        seen.append(app)
        raise sqlite3.OperationalError("no")

    monkeypatch.setattr(App, "_recover", fails)
    with pytest.raises(sqlite3.OperationalError):
        await App.start(Config("127.0.0.1:0", str(tmp_path / "a.db"), {}, metrics="127.0.0.1:0"))
    assert seen[0].metrics_address is not None
    with pytest.raises(urllib.error.URLError, match="refused"):
        await asyncio.to_thread(scrape, seen[0].metrics_address)
    async with grpc.aio.insecure_channel(seen[0].address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, METHODS["GetThread"], thread_service_pb2.GetThreadRequest(thread_id="t"))
    assert "Connection refused" in str(caught.value.details())


# The list


def documented() -> dict[str, tuple[str, set[str], str]]:
    """Type, labels and query by name, from the table in the docs."""
    section = DOCS.read_text().split("## Metrics")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {
        name.strip(" `"): (kind.strip(), set(re.findall(r"`(\w+)`", labels)), query.strip(" `"))
        for name, kind, labels, _, query in rows
    }


async def test_the_docs_list_each_metric_with_its_type_and_labels_and_no_other(tmp_path: Path) -> None:
    async with played(tmp_path / "test.db", ManualClock()) as scene:
        text = await scene.text()
    types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    exposed: dict[str, tuple[str, set[str]]] = {}
    for name, kind in types.items():
        if not name.endswith("_created"):
            found = re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} ", text, re.MULTILINE)
            exposed[name] = kind, {label for each in found for label in re.findall(r"(\w+)=", each)} - {"le"}
    listed = documented()
    ours = {name for name in listed if name.startswith("doubletext_")}
    assert ours == {name for name in exposed if name.startswith("doubletext_")}
    assert {name: listed[name][:2] for name in exposed} == exposed
    for name, (_, _, query) in listed.items():
        assert name in query


async def test_callers_who_say_nothing_keep_no_scraper_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping._Handler, "timeout", 0.3)
    async with played(tmp_path / "test.db", ManualClock()) as scene:
        host, port = str(scene.service.app.metrics_address).rsplit(":", 1)
        silent = [socket.create_connection((host, int(port))) for _ in range(60)]
        async with asyncio.timeout(10):
            while True:
                try:
                    found = await asyncio.to_thread(scrape, str(scene.service.app.metrics_address))
                    break
                except (OSError, urllib.error.URLError, http.client.HTTPException):
                    await asyncio.sleep(0.05)
        assert found
        assert 0 < sum(thread.name.startswith("metrics_") for thread in threading.enumerate()) <= scraping.THREADS
        for each in silent:
            each.close()
