"""A model to give to commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_runs import save_tiny_model


@pytest.fixture
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model, in a folder of its own."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_tiny_model(path)
    return path
