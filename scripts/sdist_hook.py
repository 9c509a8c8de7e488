"""Leaves .gitignore out of the source distribution: hatchling puts it in, whatever pyproject.toml excludes."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SdistHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        included = build_data["force_include"]
        for source in [source for source, target in included.items() if target == ".gitignore"]:
            del included[source]
