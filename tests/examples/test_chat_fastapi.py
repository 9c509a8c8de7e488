"""The chat in the browser: its page in Chromium, its web server and the doubletext server as processes."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from doubletext import Client, EventsTrimmed
from tests.examples.chat_page import CHROMIUM, FOLDER, ChatPage, WebServer, chat_service, chromium
from tests.examples.chat_picture import interrupt

# One server, one web server and one browser serve all tests; each test has a chat of its own.
pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="chromium is missing: install it with apt-get install chromium (scripts/test does, as root on Debian)",
)

HELD, AT_ONCE = 3600, 0
KEEP_LITTLE = ("--keep-per-thread", "100")
"""Of a server that trims the events of a chat with five answers, and of none with three."""

ANSWER = "A weekend in {}, then. On Saturday, get lost in the old town. On Sunday, see a museum and watch the sun set."

FIRST_EVENT = """async (last) => {
    const headers = { "Last-Event-ID": last };
    const response = await fetch(`/chats/${location.hash.slice(1)}/events`, { headers });
    const reader = response.body.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return new TextDecoder().decode(value).split("\\n\\n")[0];
}"""
"""What the web server sends first to a browser that comes back."""

expect.set_options(timeout=30_000)


@dataclass
class Chats:
    """The running service, and a browser that notes which hosts its pages ask."""

    client: Client
    web: WebServer
    browser: Browser

    async def pace(self, seconds_a_word: float) -> None:
        """Let the agent write its answers to later messages at this pace. HELD stops after the first word."""
        await self.client.assistants.delete("agent")
        await self.client.assistants.create("agent", assistant_id="agent", config={"pause": seconds_a_word})

    async def tab(self, context: BrowserContext, chat: str) -> ChatPage:
        page = await context.new_page()
        await page.goto(f"{self.web.address}#{chat}")
        return ChatPage(page)

    async def messages(self, chat: str) -> list[str]:
        """What the thread's state holds."""
        state = await self.client.threads.get_state(chat)
        return [message["content"].strip() for message in state["values"]["messages"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chats]:
    db = tmp_path_factory.mktemp("chat") / "chat.db"
    async with chat_service(db, *KEEP_LITTLE) as (client, web), chromium() as browser:
        yield Chats(client, web, browser)


@pytest_asyncio.fixture(loop_scope="module")
async def context(chats: Chats) -> AsyncIterator[BrowserContext]:
    """A browser's window, whose pages ask no host but the web server, and whose scripts never fail."""
    asked: list[str] = []
    errors: list[str] = []
    async with await chats.browser.new_context() as made:
        made.on("request", lambda request: asked.append(request.url))
        made.on("weberror", lambda error: errors.append(str(error.error)))
        yield made
    assert not errors
    assert asked
    assert all(url.startswith((chats.web.address, "data:")) for url in asked)


async def test_the_python_file_has_60_lines_at_most() -> None:
    assert len((FOLDER / "chat.py").read_text().splitlines()) <= 60


@needs_chromium
async def test_an_answer_appears_word_by_word(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(0.01)
    tab = await chats.tab(context, "words")
    await tab.page.evaluate(
        """shown = [];
        new MutationObserver(() => shown.push(document.querySelector(".answer").textContent.trim()))
            .observe(document.querySelector("#chat"), { subtree: true, childList: true })"""
    )
    await tab.send("Plan a weekend in Oslo", "reject")
    await expect(tab.exchange(1).status).to_have_text("answered")
    await expect(tab.exchange(1).committed).to_have_text(ANSWER.format("Oslo"))
    words = ANSWER.format("Oslo").split()
    growing = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    assert await tab.page.evaluate("[...new Set(shown)].filter(Boolean)") == growing


@needs_chromium
async def test_a_rejected_message_is_told_what_is_in_its_way(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    tab = await chats.tab(context, "reject")
    await tab.send("Plan a weekend in Paris", "reject")
    await expect(tab.exchange(1).status).to_have_text("running")
    async with tab.page.expect_response("**/messages?*") as refusal:
        await tab.send("Or in Rome", "reject")
    response = await refusal.value
    assert response.status == 409
    in_the_way: dict[str, Any] = (await response.json())["detail"]
    assert in_the_way["active_run_id"] == await tab.exchange(1).article.get_attribute("data-run")
    await expect(tab.refusal).to_have_text("Refused: #1 “Plan a weekend in Paris” is running.")
    await expect(tab.message).to_have_value("Or in Rome")  # to be sent again
    assert await chats.messages("reject") == ["Plan a weekend in Paris"]

    await tab.send("Or in Rome", "interrupt")
    await expect(tab.refusal).to_be_hidden()
    await expect(tab.message).to_have_value("")


@needs_chromium
async def test_enqueued_messages_wait_for_their_turn(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    tab = await chats.tab(context, "enqueue")
    await tab.send("Plan a weekend in Paris", "enqueue")
    await expect(tab.exchange(1).status).to_have_text("running")
    await chats.pace(AT_ONCE)
    await tab.send("And in Rome", "enqueue")
    await tab.send("And in Oslo", "enqueue")
    await expect(tab.exchange(2).status).to_have_text("queued at position 1")
    await expect(tab.exchange(3).status).to_have_text("queued at position 2")
    await expect(tab.queue).to_have_text("In the queue: #2 “And in Rome”, #3 “And in Oslo”")

    await chats.client.runs.cancel("enqueue", str(await tab.exchange(1).article.get_attribute("data-run")))
    await expect(tab.exchange(1).status).to_have_text("interrupted")
    await expect(tab.exchange(2).answer).to_have_text(ANSWER.format("Rome"))
    await expect(tab.exchange(3).answer).to_have_text(ANSWER.format("Oslo"))
    await expect(tab.exchange(3).status).to_have_text("answered")
    await expect(tab.queue).to_be_hidden()


@needs_chromium
async def test_an_interrupting_message_keeps_finished_sentences(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(0.4)  # leaves six seconds to interrupt the first answer, in which it needs a moment
    tab = await chats.tab(context, "interrupt")
    await interrupt(tab)
    first, second = tab.exchange(1), tab.exchange(2)
    await expect(first.status).to_have_text("interrupted by #2")
    await expect(first.uncommitted).to_have_css("text-decoration-line", "line-through")
    await expect(second.uncommitted).to_have_css("text-decoration-line", "none")
    kept = await first.committed.inner_text()
    assert kept.startswith("A weekend in Paris, then.")
    assert (await chats.messages("interrupt"))[:3] == ["Plan a weekend in Paris", kept.strip(), "Sorry, I meant Rome"]


@needs_chromium
async def test_a_rolled_back_exchange_is_struck_through_and_then_gone(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    tab = await chats.tab(context, "rollback")
    await tab.send("Plan a weekend in Paris", "rollback")
    await expect(tab.exchange(1).answer).to_have_text("A")
    await chats.pace(AT_ONCE)
    now = await tab.page.evaluate("Date.now()")
    await tab.page.clock.install(time=now)
    await tab.page.clock.pause_at(now + 1000)
    await tab.send("Sorry, I meant Rome", "rollback")
    await expect(tab.exchange(1).status).to_have_text("rolled back by #2")
    await expect(tab.exchange(1).question).to_have_css("text-decoration-line", "line-through")
    await expect(tab.exchange(1).answer).to_have_css("text-decoration-line", "line-through")
    await expect(tab.exchange(2).status).to_have_text("answered")

    await tab.page.clock.run_for(1500)
    gone = f"#1 rolled back by #2\nSorry, I meant Rome\n#2 answered\n{ANSWER.format('Rome')}"
    await expect(tab.log).to_have_text(gone, use_inner_text=True)
    assert await chats.messages("rollback") == ["Sorry, I meant Rome", ANSWER.format("Rome")]
    await expect((await chats.tab(context, "rollback")).log).to_have_text(gone, use_inner_text=True)


@needs_chromium
async def test_two_tabs_show_the_same(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    here, there = await chats.tab(context, "tabs"), await chats.tab(context, "tabs")
    await here.send("Plan a weekend in Paris", "enqueue")
    await here.send("And in Rome", "enqueue")
    await expect(there.exchange(1).answer).to_have_text("A")
    await expect(there.exchange(2).status).to_have_text("queued at position 1")
    await chats.pace(AT_ONCE)
    await there.send("No, in Oslo", "interrupt")
    for tab in (here, there):
        await expect(tab.exchange(1).status).to_have_text("interrupted by #3")
        await expect(tab.exchange(2).status).to_have_text("interrupted by #3")
        await expect(tab.exchange(3).status).to_have_text("answered")
    assert await here.log.inner_text() == await there.log.inner_text()


@needs_chromium
async def test_a_reloaded_page_goes_on_where_it_was(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    tab = await chats.tab(context, "reload")
    await tab.send("Plan a weekend in Paris", "enqueue")
    await expect(tab.exchange(1).answer).to_have_text("A")
    before = await tab.log.inner_text()
    await tab.page.reload()
    await expect(tab.log).to_have_text(before, use_inner_text=True)
    await chats.pace(AT_ONCE)
    await tab.send("Sorry, I meant Rome", "interrupt")
    await expect(tab.exchange(1).status).to_have_text("interrupted by #2")
    await expect(tab.exchange(2).answer).to_have_text(ANSWER.format("Rome"))


@needs_chromium
async def test_a_page_catches_up_when_the_web_server_comes_back(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(HELD)
    tab = await chats.tab(context, "restart")
    await tab.send("Plan a weekend in Paris", "enqueue")
    await expect(tab.exchange(1).answer).to_have_text("A")
    await chats.web.kill()
    await expect(tab.connection).to_have_text("connecting …")
    await chats.pace(AT_ONCE)
    await chats.client.runs.create(
        "restart", "agent", input={"messages": [{"role": "user", "content": "Rome"}]}, multitask_strategy="interrupt"
    )

    async with tab.page.expect_response("**/events") as stream:
        await chats.web.start()
    asked = await (await stream.value).request.all_headers()
    assert asked["last-event-id"] == "4"  # admitted, started, the question, a word
    assert "id: 5" in await tab.page.evaluate(FIRST_EVENT, "4")
    await expect(tab.exchange(2).status).to_have_text("answered")
    shown = f"Plan a weekend in Paris\n#1 interrupted by #2\nA\nRome\n#2 answered\n{ANSWER.format('Rome')}"
    await expect(tab.log).to_have_text(shown, use_inner_text=True)


@needs_chromium
async def test_of_a_chat_too_long_to_be_kept_the_page_shows_the_end(chats: Chats, context: BrowserContext) -> None:
    await chats.pace(AT_ONCE)
    for number in range(1, 6):
        said = {"messages": [{"role": "user", "content": f"Number {number}"}]}
        run = await chats.client.runs.create("long", "agent", input=said, if_thread_not_exists="create")
        await chats.client.runs.join("long", run["run_id"])
    with suppress(EventsTrimmed):
        while True:
            await anext(chats.client.threads.watch("long"))
    tab = await chats.tab(context, "long")
    last = tab.log.get_by_role("article").filter(has_text="#5 answered")
    await expect(last).to_have_text(f"Number 5\n#5 answered\n{ANSWER.format('5')}", use_inner_text=True)
    await expect(tab.log).not_to_contain_text("Number 1")
