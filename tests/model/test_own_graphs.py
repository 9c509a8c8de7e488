"""The server executes the runs itself: the test decides each move of their code, and whether it obeys a stop.

In the suite a fixed selection of sequences is played. More of them, drawn anew each time: DOUBLETEXT_EXAMPLES=1000.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.model.moves import move
from tests.model.play import played
from tests.model.records import Run, micros
from tests.model.rules import Moves, contents, places

GRAPH = "played"


class OwnGraphs(Moves):
    own = ("agent", "echo", GRAPH)
    graph = GRAPH

    @initialize()
    def assistants(self) -> None:
        self._assistant("plain", GRAPH)
        self._assistant("brittle", GRAPH, max_attempts=1, stop_grace=0, run_timeout=micros(20))
        self._assistant("lists", GRAPH, reducers={"log": "append", "messages": "append"}, stop_grace=micros(60))

    def running(self) -> list[Run]:
        return [run for thread in self.model.threads.values() if (run := thread.running)]

    def tell(self, run: Run, word: str, content: Any, wanted: Any) -> None:
        """Let the run's code make a move, and wait until it has."""

        async def move() -> None:
            self.driver.player.attempts[run.run_id].tell(word, content)
            await self.driver.moved(run.run_id)

        self.play(move, wanted)

    @move(12, place=places, word=st.sampled_from(["step", "step", "emit", "finish", "fail"]), kind=contents)
    def the_graph(self, place: int, word: str, kind: str) -> None:
        self.have_a_run()
        running = self.running()
        if not running:
            return
        run, content = running[place % len(running)], self.content(kind)
        error = {"type": "LookupError", "message": "no such weather"}
        wanted: Any = {
            "step": lambda _: self.model.step(run, content) and None,
            "emit": lambda _: self.model.output(run, "tokens", content),
            "finish": lambda _: self.model.end(run),
            "fail": lambda _: self.model.end(run, error),
        }
        self.tell(run, word, "no such weather" if word == "fail" else content, wanted[word])

    @move(4, place=places)
    def will_not_obey(self, place: int) -> None:
        """From now on the run's code goes on when it is stopped."""
        self.have_a_run()
        running = self.running()
        if not running:
            return
        run = running[place % len(running)]
        self.driver.player.attempts[run.run_id].stubborn = True
        self.model.stubborn.add(run.run_id)

    def deaf(self) -> list[str]:
        """The stopped runs whose code goes on."""
        running = {run.run_id for run in self.running()}
        return sorted(self.model.stubborn - running)

    @move(4, place=places, word=st.sampled_from(["step", "emit", "finish", "fail"]))
    def too_late(self, place: int, word: str) -> None:
        """What the code of a stopped run still does changes nothing, and ends it."""
        if deaf := self.deaf():
            self._end(deaf[place % len(deaf)], word)

    def _end(self, run_id: str, word: str) -> None:
        async def move() -> None:
            self.driver.player.attempts[run_id].tell(word, self.content("message"))

        self.play(move, lambda _: self.model.stubborn.discard(run_id))

    def before_restart(self, orderly: bool) -> None:
        """A server that stops in order waits for code that does not obey; what comes of it depends on who is faster."""
        for run_id in self.deaf() if orderly else ():
            self._end(run_id, "finish")
        for run in self.running():
            self.driver.player.attempts[run.run_id].stubborn = False
        self.model.stubborn.clear()


test_runs_of_the_servers_own_graphs_do_as_the_contract_says = played(OwnGraphs)
