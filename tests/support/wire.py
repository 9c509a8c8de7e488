"""A client of HTTP/2 and no more: it sends the header blocks and the bytes that it is given, right or wrong."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

Header = tuple[bytes, bytes]
WINDOW: Final = 2**24
SECONDS: Final = 20
"""In which everything must be answered, the slowest machine included."""


def framed(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC sends it: a flag, its length, its bytes; the first two may lie."""
    return bytes([flag]) + (len(message) if length is None else length).to_bytes(4, "big") + message


@dataclass
class Reply:
    """What came on a stream. `reset`: the code with which the server ended it; `gone`: the connection ended first."""

    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    data: bytes = b""
    reset: int | None = None
    gone: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def trailers(self) -> dict[bytes, bytes]:
        return self.headers[-1] if self.headers else {}

    @property
    def status(self) -> int | None:
        value = self.trailers.get(b"grpc-status")
        return None if value is None else int(value)

    @property
    def message(self) -> bytes:
        """The first message of the answer."""
        return self.data[5 : 5 + int.from_bytes(self.data[1:5], "big")]


class Wire:
    """A connection. `open` it; `close` it. One that is `deaf` never lets the server send what it was asked for."""

    def __init__(
        self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, deaf: bool = False
    ) -> None:
        self._deaf = deaf
        self._authority = address.encode()
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection(
            H2Configuration(header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self._replies: dict[int, Reply] = {}
        self._moved = asyncio.Event()
        self.gone = False

    @classmethod
    async def open(cls, address: str, *, deaf: bool = False) -> "Wire":
        host, _, port = address.rpartition(":")
        wire = cls(address, *await asyncio.open_connection(host, int(port)), deaf=deaf)
        wire._h2.initiate_connection()
        if deaf:
            wire._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        wire._h2.increment_flow_control_window(WINDOW)
        wire._flush()
        wire._reading = asyncio.create_task(wire._read())
        return wire

    _reading: "asyncio.Task[None]"

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.close()
        await asyncio.wait([self._reading])

    def headers(self, path: str | bytes, *more: Header) -> list[Header]:
        """Those of a good gRPC call; one of `more` takes the place of one with its name."""
        path = path if isinstance(path, bytes) else path.encode()
        good = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", self._authority),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
        given = {name for name, _ in more}
        return [*(header for header in good if header[0] not in given), *more]

    def begin(self, headers: Iterable[Header], *, end: bool = False) -> int:
        """Begin a stream with these headers, and say which it is."""
        stream = self._h2.get_next_available_stream_id()
        self._replies[stream] = Reply()
        self._h2.send_headers(stream, list(headers), end_stream=end)
        if not self._deaf:
            self._h2.increment_flow_control_window(WINDOW, stream)
        self._flush()
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """Send as fast as the server lets us; what it no longer wants is not sent."""
        while data:
            if self.gone or self._replies[stream].done.is_set():
                return
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(data))
            if size <= 0:
                self._moved.clear()
                await self._moved.wait()
                continue
            self._h2.send_data(stream, data[:size])
            self._flush()
            data = data[size:]
        if end and not self.gone and not self._replies[stream].done.is_set():
            self._h2.end_stream(stream)
            self._flush()

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream, error_code=8)
        self._replies[stream].done.set()
        self._flush()

    def reply_of(self, stream: int) -> Reply:
        """What has come so far."""
        return self._replies[stream]

    async def reply(self, stream: int) -> Reply:
        async with asyncio.timeout(SECONDS):
            await self._replies[stream].done.wait()
        return self._replies.pop(stream)

    async def ask(self, headers: Sequence[Header], body: bytes) -> Reply:
        """One call from begin to end."""
        stream = self.begin(headers)
        async with asyncio.timeout(SECONDS):
            await self.send(stream, body)
        return await self.reply(stream)

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                seen = self._h2.receive_data(data)
                for event in seen:
                    self._on_commit(event)
                self._flush()
                self._moved.set()
                if any(isinstance(event, events.ConnectionTerminated) for event in seen):
                    return
        except (ConnectionError, ProtocolError):
            pass
        finally:
            self.gone = True
            self._moved.set()
            for reply in self._replies.values():
                reply.gone = reply.gone or not reply.done.is_set()
                reply.done.set()

    def _on_commit(self, event: Any) -> None:
        reply = self._replies.get(getattr(event, "stream_id", None) or 0)
        if reply is None:
            return
        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            reply.headers.append(dict(event.headers or ()))
        elif isinstance(event, events.DataReceived):
            reply.data += event.data or b""
            if event.flow_controlled_length:
                self._h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, events.StreamReset):
            reply.reset = int(event.error_code or 0)
            reply.done.set()
        elif isinstance(event, events.StreamEnded):
            reply.done.set()
