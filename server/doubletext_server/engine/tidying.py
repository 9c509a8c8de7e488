"""Has the store remove, in the background and a slice at a time, what was deleted and was too much for one commit."""

import asyncio
from typing import Final

import structlog

from doubletext_server.store.protocol import Store
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import Refusal

RETRY_SECONDS: Final = 5.0

log = structlog.get_logger("tidying")


class Tidying:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Go on with what an earlier process has left, then wait for more."""
        self._task = asyncio.create_task(self._run())

    def on_commit(self, thread_id: str, decision: Decision) -> None:
        if decision.deletes_thread or decision.cut_to is not None:
            self._wake.set()

    async def _run(self) -> None:
        if not await self._left_over():
            await self._wake.wait()
        while True:
            self._wake.clear()
            try:
                while await self._store.tidy():  # others' changes go between
                    pass
            except Refusal as refusal:
                log.warning("what was deleted is removed later", error=str(refusal))
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
            except Exception:
                log.exception("what was deleted could not be removed")
            await self._wake.wait()

    async def _left_over(self) -> bool:
        try:
            return await self._store.untidy()
        except Refusal:
            return True

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
