"""The types of options, and the options that several client commands have."""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, get_args

import click

from doubletext import types

Json: TypeAlias = Mapping[str, Any]


class JsonObject(click.ParamType[Json]):
    """A JSON object: in the argument itself, in a file (`@file`), or on stdin (`-`)."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        from doubletext import jsontext

        try:
            return jsontext.read(jsontext.checked(self._text(value)).text)
        except (OSError, ValueError) as error:
            self.fail(f"not a JSON object: it {error}", param, ctx)

    def _text(self, value: str) -> str:
        if value == "-":
            return sys.stdin.read()
        if value.startswith("@"):
            with open(value[1:], encoding="utf-8") as file:
                return file.read()
        return value


class Pair(click.ParamType[tuple[str, Any]]):
    """An option of the form KEY=JSON."""

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        from doubletext import jsontext

        key, sign, text = value.partition("=")
        try:
            if not sign:
                raise ValueError("it has no '='")
            pair = jsontext.read(jsontext.checked(f"{{{json.dumps(key)}:{text}}}").text)
            if len(pair) > 1:
                raise ValueError("it has several keys")
        except ValueError as error:
            self.fail(f"{value} is not KEY=JSON (a text is KEY='\"text\"'): {error}", param, ctx)
        return key, pair[key]


class Seconds(click.ParamType[float]):
    """A number of seconds, 0 or more; fractions count."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = click.FLOAT.convert(value, param, ctx)
        if not (math.isfinite(number) and number >= 0):
            self.fail(f"{value} is not a number of seconds, 0 or more", param, ctx)
        return number


strategy_option: Final = click.option(
    "--strategy",
    type=click.Choice(get_args(types.MultitaskStrategy)),
    help="What a run does to those in flight on its thread.",
)
queue_policy_option: Final = click.option(
    "--queue-policy",
    type=click.Choice(get_args(types.QueuePolicy)),
    help="What a run does to those that wait on its thread.",
)
metadata_option: Final = click.option("--metadata", type=JsonObject(), help="A JSON object, @FILE, or - for stdin.")
filter_option: Final = click.option(
    "--metadata",
    type=Pair(),
    multiple=True,
    metavar="KEY=JSON",
    callback=lambda ctx, param, pairs: dict(pairs),
    help="Those whose metadata has this key with this value; may be given several times.",
)
