"""The page of examples/chat-fastapi: its web server, headless Chromium, and what a reader does and sees there."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, async_playwright

from doubletext import Client
from doubletext.types import MultitaskStrategy
from tests.support.server_process import process

FOLDER = Path(__file__).parents[2] / "examples/chat-fastapi"

# Debian's package. Playwright could download a browser of its own, and nothing here lets it.
CHROMIUM = shutil.which("chromium")
# The sandbox cannot be had as root; the rest keeps Chromium from calling home.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class WebServer:
    """`uvicorn chat:app` on a free port, which it keeps when it is started again."""

    def __init__(self, doubletext: str) -> None:
        self._environment = {**os.environ, "DOUBLETEXT_SERVER": doubletext}
        self._port = "0"

    async def start(self) -> None:
        command = (sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "--port", self._port, "chat:app")
        self._process = await asyncio.create_subprocess_exec(
            *command, env=self._environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stderr is not None
        logged = b""
        while not (running := re.search(rb"running on http://127\.0\.0\.1:(\d+)", logged)):
            line = await self._process.stderr.readline()
            assert line, logged.decode()
            logged += line
        self._port = running[1].decode()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()


@asynccontextmanager
async def chat_service(db: Path, *options: str) -> AsyncIterator[tuple[Client, WebServer]]:
    """A doubletext server that executes the example's agent, a client of it, and the web server of the page."""
    async with (
        process(db, "--graphs", f"{FOLDER / 'chat.py'}:agent", *options) as server,
        Client(server.address) as client,
    ):
        web = WebServer(server.address)
        await web.start()
        try:
            yield client, web
        finally:
            await web.kill()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Headless Chromium with a profile of its own, which is deleted at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Exchange:
    """A message and its answer, as the page shows them."""

    def __init__(self, article: Locator) -> None:
        self.article = article
        self.question = article.locator(".question")
        self.status = article.locator(".status")
        self.answer = article.locator(".answer")
        self.committed = article.locator(".kept")
        self.uncommitted = article.locator(".fresh")


class ChatPage:
    """A tab with a chat, operated by the roles and names that a screen reader finds."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.log = page.get_by_role("log", name="Conversation")
        self.message = page.get_by_role("textbox", name="Message")
        self.refusal = page.get_by_role("alert")
        self.connection = page.locator("#connection")
        self.queue = page.locator("#queue")

    async def send(self, text: str, strategy: MultitaskStrategy) -> None:
        await self.page.get_by_role("radio", name=strategy).check()
        await self.message.fill(text)
        await self.page.get_by_role("button", name="Send").click()

    def exchange(self, number: int) -> Exchange:
        """The exchange at that place, counted from 1."""
        return Exchange(self.log.get_by_role("article").nth(number - 1))

    async def answer_reaches(self, number: int, words: str) -> None:
        """Wait, from one frame to the next, until the answer in that exchange has these words."""
        there = "([at, words]) => document.querySelectorAll('.answer')[at]?.textContent.includes(words)"
        await self.page.wait_for_function(there, arg=[number - 1, words])
