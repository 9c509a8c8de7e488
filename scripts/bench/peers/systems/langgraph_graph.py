"""The task as a graph of LangGraph: one node, entered once for each step."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph

from bench.peers.journal import work


class State(TypedDict, total=False):
    messages: Annotated[list[dict[str, Any]], operator.add]
    thread: str
    number: int
    steps: int
    seconds: float
    step: int


async def step(state: State) -> State:
    await work(state["thread"], state["number"], state["step"], state["seconds"])
    return {"step": state["step"] + 1}


def onward(state: State) -> str:
    return "step" if state["step"] < state["steps"] else END


builder = StateGraph(State)
builder.add_node("step", step)
builder.add_edge(START, "step")
builder.add_conditional_edges("step", onward, ["step", END])
graph = builder.compile()
