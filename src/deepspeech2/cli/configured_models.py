"""Models of the transformers library from their `config.json`, without weights, for `ds2 flops`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from deepspeech2.errors import CheckpointError, OptionError

# Parameters that are made in a second.
_SMALL = 100_000_000


def configuration_of(path: Path) -> Path | None:
    """The configuration that is meant: a .json file, or `config.json` in a folder that is no checkpoint of Baidu's."""
    if path.is_file() and path.suffix == ".json":
        return path
    inside = path / "config.json"
    is_baidus = any((path / name).exists() for name in ("params.pdparams", "params.tar.gz"))
    return inside if inside.is_file() and not is_baidus else None


def build_configured(path: Path) -> Callable[..., Any]:
    """The model a configuration describes, as a rule on the meta device.

    Nothing is downloaded, and no code that comes with a model is run. It is the class named first in `architectures`,
    or the model without a head where there is none.

    Raises:
        CheckpointError: the file is no configuration the library can build.
        OptionError: the library is not installed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, found something else ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("model_type"), str):
        raise CheckpointError(f"{path}: expected a config.json of the transformers library, found no model_type in it")
    # The library would look for newer files on its hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        library: Any = import_module("transformers")
    except ImportError as error:
        raise OptionError(
            f"{path}: a configuration of the transformers library, which is not installed; pip install transformers"
        ) from error
    import torch

    library.logging.set_verbosity_error()
    try:
        config = library.AutoConfig.for_model(**document)
        named = getattr(library, (config.architectures or [""])[0], None)
        make = library.AutoModel.from_config if named is None else named
        with torch.device("meta"):
            model = make(config)
        if _is_small(model) and any(not buffer.is_floating_point() for buffer in model.buffers()):
            # Integers of a model (paddings, strides) may decide sizes; on the meta device they have no values.
            model = make(config)
    except Exception as error:  # the library raises many kinds
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: transformers {library.__version__} cannot build it: {reason}") from error
    built: Callable[..., Any] = model.eval()
    return built


def _is_small(model: Any) -> bool:
    parameters: int = sum(parameter.numel() for parameter in model.parameters())
    return parameters <= _SMALL
