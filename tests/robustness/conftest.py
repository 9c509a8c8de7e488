from collections.abc import Iterator

import pytest

from tests.robustness.failpoints.points import CannotCompile, Launcher, compile_failpoint, launcher


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    try:
        library = compile_failpoint(tmp_path_factory.mktemp("failpoint"))
    except CannotCompile as error:
        pytest.skip(str(error))
    with launcher(library) as made:
        yield made
