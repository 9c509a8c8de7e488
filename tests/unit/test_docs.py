"""The pages hold together: links lead somewhere, lists are whole."""

import re
from pathlib import Path
from typing import Final

import click
import pytest

from doubletext.cli.main import main
from doubletext_statemachine.words import CancelAction, Reducer, RunStatus, Strategy, ThreadStatus

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests" / "README.md", *ROOT.glob("examples/*/README.md")]
)
RECORDS: Final = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def test_every_file_that_a_page_links_to_is_there() -> None:
    link = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
    links = [(page, target) for page in PAGES for target in link.findall(page.read_text())]
    assert [(str(page), target) for page, target in links if not (page.parent / target).exists()] == []


def test_every_path_that_a_page_names_is_there() -> None:
    path = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.[a-z]+)?)`")
    named = [(page, found) for page in PAGES for found in path.findall(page.read_text())]
    assert len(named) > 20
    assert [
        (str(page), found) for page, found in named if not any((at / found).exists() for at in (ROOT, page.parent))
    ] == []


def test_the_glossary_has_each_word_once_and_those_of_the_contract() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    entries = [entry for cell in re.findall(r"^\| ([^|]+) \| .+ \|$", text, re.MULTILINE) for entry in cell.split(", ")]
    words = [entry for entry in entries if entry != "word"]
    assert sorted(words) == sorted(set(words))
    protos = "\n".join(path.read_text() for path in (ROOT / "protos").rglob("*.proto"))
    nouns = {noun.lower() for noun in re.findall(r"^  rpc [A-Z][a-z]+([A-Z][a-z]+?)s?\(", protos, re.MULTILINE)}
    assert nouns == {"assistant", "thread", "state", "run", "step", "output", "lease"}
    assert nouns <= set(words)
    enums = {Strategy, RunStatus, ThreadStatus, Reducer, CancelAction}
    said = set(re.findall(r"[a-z]+", text))
    assert {word.value for kind in enums for word in kind} - said == {"rollback"}  # the glossary says "roll back"


def test_the_page_for_a_package_index_needs_nothing_beside_it() -> None:
    text = (ROOT / "docs" / "index-page.md").read_text()
    assert "mermaid" not in text
    assert re.findall(r"\]\((?!https:)", text) == []


def test_the_page_for_a_package_index_begins_as_the_readme_does() -> None:
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/index-page.md"))
    assert page.split("\n\n")[:2] == readme.split("\n\n")[:2]
    first = re.compile(r"<!-- run: two -->\n.*?^```$", re.DOTALL | re.MULTILINE)
    assert first.findall(page) == first.findall(readme) != []


def test_the_index_of_decisions_lists_each_record_by_its_number() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    listed = re.findall(r"^\| \[(\d{4})\]\((.+)\) \| (.+) \| (\d{4}-\d\d-\d\d) \|$", index, re.MULTILINE)
    records = [(path, path.read_text()) for path in RECORDS]
    titles = [re.findall(r"\A# (\d{4})\. (.+)\n\nStatus: accepted (\d{4}-\d\d-\d\d)", text) for _, text in records]
    assert [(number, title, date) for number, _, title, date in listed] == [each for title in titles for each in title]
    assert [name for _, name, *_ in listed] == [path.name for path, _ in records]
    assert [number for number, *_ in listed] == [f"{place:04}" for place in range(1, len(records) + 1)]
    for path, text in records:
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Cost"], path.name


def test_every_decision_that_code_names_is_there() -> None:
    sources = [
        path for folder in ("doubletext", "server", "statemachine", "protos") for path in (ROOT / folder).rglob("*")
    ]
    named = {
        number
        for path in sources
        if path.suffix in {".py", ".proto"}
        for number in re.findall(r"docs/decisions/(\d+)", path.read_text())
    }
    assert named
    assert named <= {path.name[:4] for path in RECORDS}


@pytest.mark.parametrize("name", ["serve", "worker"])
def test_every_option_of_a_command_stands_in_the_docs_with_its_default(name: str) -> None:
    section = (ROOT / "docs" / "operations.md").read_text().split(f"The options of `doubletext {name}`:")[1]
    rows = re.findall(r"^\| `(--[a-z-]+)` \| (.+?) \|", section.split("\n\n")[1], re.MULTILINE)
    options = [option for option in main.commands[name].params if isinstance(option, click.Option)]
    assert sorted(option for option, _ in rows) == sorted(option.opts[0] for option in options)
    said = {option: default.strip("`") for option, default in rows}
    for option in options:
        if isinstance(option.default, str):
            assert said[option.opts[0]] == option.default
        elif isinstance(option.default, int | float):
            assert float(said[option.opts[0]]) == option.default
