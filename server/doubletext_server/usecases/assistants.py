"""Create, read and delete assistants: graphs with a name and a configuration."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from uuid6 import uuid7

from doubletext_server.clock import Clock
from doubletext_server.store.protocol import LARGEST_PAGE, Page, Store
from doubletext_server.usecases.limits import (
    LARGEST_CONFIG,
    LONGEST_GRACE_US,
    MOST_ASSISTANTS,
    MOST_ATTEMPTS,
    MOST_REDUCERS,
)
from doubletext_server.usecases.paging import Listing, PageRequest, Pages
from doubletext_server.usecases.validation import Fields
from doubletext_server.usecases.values import EMPTY, Given, JsonObject
from doubletext_statemachine.errors import AssistantNotFound
from doubletext_statemachine.model import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_REDUCERS,
    DEFAULT_STOP_GRACE,
    Assistant,
    Json,
    Reducers,
)
from doubletext_statemachine.words import Reducer


@dataclass(slots=True, frozen=True)
class NewAssistant:
    """The values of a CreateAssistant call.

    assistant_id    None: the service makes an id
    reducers        empty: the default reducers; None as a reducer: REPLACE
    max_attempts    None: the default
    stop_grace_us   None: the default
    run_timeout_us  None: no limit
    """

    graph: str
    assistant_id: str | None = None
    metadata: JsonObject = EMPTY
    config: JsonObject = EMPTY
    reducers: Mapping[str, Given[Reducer | None]] = field(default_factory=dict)
    max_attempts: int | None = None
    stop_grace_us: Given[int | None] = None
    run_timeout_us: Given[int | None] = None


class Assistants:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, new: NewAssistant) -> Assistant:
        fields = Fields()
        stop_grace = fields.duration("stop_grace", new.stop_grace_us, most_us=LONGEST_GRACE_US)
        attempts = DEFAULT_MAX_ATTEMPTS if new.max_attempts is None else new.max_attempts
        if not 1 <= attempts <= MOST_ATTEMPTS:
            fields.wrong("max_attempts", f"is {attempts}; it must be 1 to {MOST_ATTEMPTS}")
        assistant = Assistant(
            key=0,
            assistant_id=fields.given_id("assistant_id", new.assistant_id) or str(uuid7()),
            graph=fields.id("graph", new.graph),
            create_time=self._clock(),
            metadata=fields.json("metadata", new.metadata),
            config=_config(fields, new.config),
            reducers=_reducers(fields, new.reducers),
            max_attempts=attempts,
            stop_grace=DEFAULT_STOP_GRACE if stop_grace is None else stop_grace,
            run_timeout=fields.duration("run_timeout", new.run_timeout_us, least_us=1),
        )
        if len(self._store.assistants()) >= MOST_ASSISTANTS:
            fields.wrong("assistant_id", f"would be one more than the {MOST_ASSISTANTS} that there may be; delete one")
        fields.check()
        return await self._store.add_assistant(assistant)

    async def get(self, assistant_id: str) -> Assistant:
        fields = Fields()
        fields.id("assistant_id", assistant_id)
        fields.check()
        return existing(self._store, assistant_id)

    async def list(self, page: PageRequest) -> Listing[Assistant]:
        pages = Pages("assistants", shape=(str,), most=1000, default=100)
        size, after = pages.read(Fields(), page)
        found = [
            assistant for assistant in self._store.assistants() if after is None or assistant.assistant_id > after[0]
        ]
        page_ = list(_fitting(found[:size]))
        more = [page_[-1].assistant_id] if len(found) > len(page_) else None
        return pages.listing(Page(page_, more))

    async def delete(self, assistant_id: str) -> None:
        fields = Fields()
        fields.id("assistant_id", assistant_id)
        fields.check()
        await self._store.delete_assistant(assistant_id)


def _fitting(assistants: Iterable[Assistant]) -> Iterator[Assistant]:
    """Yield assistants until they are enough for a page: see LARGEST_PAGE."""
    size = 0
    for assistant in assistants:
        if size >= LARGEST_PAGE:
            return
        size += len(assistant.config) + len(assistant.metadata)
        yield assistant


def existing(store: Store, assistant_id: str) -> Assistant:
    """Return the assistant. Raises AssistantNotFound."""
    assistant = store.assistant(assistant_id)
    if assistant is None:
        raise AssistantNotFound(assistant_id=assistant_id)
    return assistant


def _config(fields: Fields, given: JsonObject) -> Json:
    text = fields.json("config", given)
    if (size := len(text.encode())) > LARGEST_CONFIG:
        fields.wrong("config", f"has {size} bytes as JSON; it may have {LARGEST_CONFIG}")
    return text


def _reducers(fields: Fields, given: Mapping[str, Given[Reducer | None]]) -> Reducers:
    if not given or not fields.most("reducers", len(given), MOST_REDUCERS, "keys"):
        return DEFAULT_REDUCERS
    return {key: reducer or Reducer.REPLACE for key, reducer in fields.entries("reducers", given).items()}
