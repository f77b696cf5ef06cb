"""Keeps the language-model cache of the tests out of the user's."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSPEECH2_CACHE", str(Path(tmp_path_factory.mktemp("cache"))))
        yield
