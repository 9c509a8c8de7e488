"""Takes the README's picture of the chat: python -m tests.examples.chat_picture docs/images/chat.png"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize

from tests.examples.chat_page import ChatPage, chat_service, chromium

SIZE = ViewportSize(width=720, height=496)


async def interrupt(chat: ChatPage) -> None:
    """Interrupt an answer that has a sentence and a half, and wait until the second answer has as much."""
    await chat.send("Plan a weekend in Paris", "interrupt")
    await chat.answer_reaches(1, "On Saturday, get")
    await chat.send("Sorry, I meant Rome", "interrupt")
    await chat.answer_reaches(2, "On Saturday, get lost")


async def take_picture(path: Path, folder: Path) -> None:
    async with (
        chat_service(folder / "chat.db") as (_, web),
        chromium() as browser,
        await browser.new_context(viewport=SIZE, device_scale_factor=2) as context,
    ):
        page = await context.new_page()
        await page.goto(web.address)
        await interrupt(ChatPage(page))
        await page.screenshot(path=path, animations="disabled", caret="initial")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(take_picture(Path(sys.argv[1]), Path(folder)))
