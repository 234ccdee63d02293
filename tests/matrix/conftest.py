"""The compiled programs of the matrix, made once."""

from __future__ import annotations

import pytest

from tests.matrix.workspace import Toolbox


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Toolbox:
    return Toolbox(tmp_path_factory.mktemp("toolbox"))
