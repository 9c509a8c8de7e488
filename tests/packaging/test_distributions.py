"""The wheel and the source distribution: what is in them, and that an index takes them."""

import sys
import tarfile
from email import message_from_string
from pathlib import Path

import pytest

from tests.packaging.conftest import PACKAGES, ROOT, Distributions, build, run


def test_an_index_takes_them_and_can_show_the_readme(built: Distributions) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", str(built.wheel), str(built.sdist))


def test_nothing_in_the_wheel_is_out_of_place(built: Distributions) -> None:
    run(sys.executable, "-m", "check_wheel_contents", str(built.wheel))


def test_the_wheel_has_every_module_and_every_proto(built: Distributions) -> None:
    contents = built.contents()
    files = {
        f"{package.name}/{file.relative_to(package)}": file
        for package in PACKAGES
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    files |= {f"doubletext/v1/{file.name}": file for file in (ROOT / "protos/doubletext/v1").iterdir()}
    assert "doubletext/py.typed" in files
    assert "doubletext/v1/run_service.proto" in files
    found = {name: data for name, data in contents.items() if ".dist-info/" not in name}
    assert found == {name: file.read_bytes() for name, file in files.items()}


def test_the_metadata_has_what_a_user_installs_and_nothing_for_developers(built: Distributions) -> None:
    (name,) = (name for name in built.contents() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(built.contents()[name].decode())
    assert metadata["Author"] == "The doubletext authors"
    assert metadata.get_all("Provides-Extra") == ["server", "timeline"]
    assert not [line for line in metadata.get_all("Requires-Dist") or () if "pytest" in line or "mypy" in line]
    assert metadata.get_all("Classifier")
    assert metadata["Keywords"]


def test_the_source_distribution_has_all_of_the_repository_but_what_is_for_git_and_ci(built: Distributions) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout by git, which knows what belongs to the repository")
    kept = set(run("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines())
    kept = {name for name in kept if (ROOT / name).exists()}
    with tarfile.open(built.sdist) as sdist:
        found = {name.partition("/")[2] for name in sdist.getnames()}
    left_out = {name for name in kept if Path(name).name == ".gitignore" or name.startswith(".ci/")}
    assert found == kept - left_out | {"PKG-INFO"}


def test_a_wheel_made_from_the_source_distribution_is_the_same(built: Distributions, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = build(source, tmp_path / "dist")
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
