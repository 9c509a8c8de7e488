"""Columns of text: what is wrapped, where, and what stays whole."""

import pytest

from doubletext.cli.render.tables import Listing, fields, wrapped


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", [""]),
        ("a line that is long", ["a line ", "that is ", "long"]),
        ("eightchr eightchr", ["eightchr ", "eightchr"]),
        ("a word-that-is-long", ["a ", "word-tha", "t-is-lon", "g"]),
        ("on 東京は夜の七時", ["on ", "東京は夜", "の七時"]),
        ("a\tb", ["a       ", "b"]),
    ],
)
def test_a_line_is_broken_between_words_and_a_long_word_anywhere(line: str, lines: list[str]) -> None:
    assert wrapped(line, 8) == lines


def test_nothing_is_broken_where_there_is_no_width() -> None:
    assert wrapped("word " * 1000, None) == ["word " * 1000]


def test_texts_stand_beside_their_names_line_under_line() -> None:
    rows = [("user", "東京?\nnow"), ("東京は", "a text that is too long for it")]
    assert fields(rows, 28, styled=False) == [
        "user    東京?",
        "        now",
        "東京は  a text that is too",
        "        long for it",
    ]


def test_a_narrow_terminal_leaves_room_for_a_text_however_long_its_name() -> None:
    assert fields([("n" * 50, "two words and more")], 40, styled=False) == [f"{'n' * 50}  two words and more"]


def test_a_row_of_a_Listing_stays_whole_and_names_alone_are_bold() -> None:
    assert Listing(["id", "status"], styled=True).lines([["a" * 300, ""], ["東", "x"]]) == [
        f"\x1b[1mid\x1b[0m{' ' * 298}  \x1b[1mstatus\x1b[0m",
        "a" * 300,
        f"東{' ' * 298}  x",
    ]


def test_a_table_in_parts_has_its_head_once_and_grows_wider() -> None:
    table = Listing(["id", "status"], styled=False)
    assert table.lines([["a", "x"]]) == ["id  status", "a   x"]
    assert table.lines([["long", "y"]]) == ["long  y"]
    assert table.lines([["b", "z"]]) == ["b     z"]
    assert table.lines([]) == []
    assert Listing(["id"], styled=False).lines([]) == ["id"]
