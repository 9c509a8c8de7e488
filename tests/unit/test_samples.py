"""What the built-in `agent` understands of a question."""

import pytest

from doubletext.samples import city_of


@pytest.mark.parametrize(
    ("question", "city"),
    [
        ("what's the weather in sf?", "San Francisco"),
        ("what's the weather in nyc", "New York City"),
        ("how is it in new   york, today", "New York"),
        ("in what mood are you in São Paulo?", "São Paulo"),
        ("rain in St. John's.", "St. John'S"),
        ("in", "your city"),
        ("", "your city"),
        ("inside the house", "your city"),
    ],
)
def test_the_city_is_what_comes_after_the_last_in(question: str, city: str) -> None:
    assert city_of(question) == city


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [" ", "\t", "a ", ". ", "in ", "'", "-", "in a. "])
def test_a_question_of_four_megabytes_takes_no_longer_than_reading_it(piece: str) -> None:
    """It took seconds for 20 kB and days for this, on the event loop of the server."""
    assert city_of("weather in " + piece * (4_000_000 // len(piece)) + "!")
