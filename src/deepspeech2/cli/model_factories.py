"""Models a user's own code makes: `package.module:function(arguments)`, for `ds2 flops`."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from deepspeech2.errors import DeepSpeech2Error, OptionError

_FACTORY = re.compile(r"^([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)(\(.*\))?$", re.DOTALL)


def is_factory(name: str) -> bool:
    """Whether a name has the form of `module:function` or `module:function(arguments)`."""
    return _FACTORY.match(name) is not None


def make_model(name: str) -> Callable[..., Any]:
    """Import a module (the current folder's first) and call what is named in it; the module is put into eval mode.

    What is named may be a class, a function that returns a model, or a model itself. Arguments are literals of Python.
    It runs as it does anywhere: a factory that makes its weights on the meta device takes no memory for them.

    Raises:
        OptionError: no such module, nothing of that name in it, wrong arguments, or what it makes is no model.
    """
    import torch

    match = _FACTORY.match(name)
    assert match is not None
    module_name, path, arguments = match.groups()
    made = _attribute(_imported(module_name), module_name, path)
    if arguments is not None or not isinstance(made, torch.nn.Module):
        args, kwargs = _arguments(name, path, arguments or "()")
        try:
            made = made(*args, **kwargs)
        except DeepSpeech2Error:
            raise
        except Exception as error:  # whatever the user's code raises
            raise OptionError(f"{name}: making the model failed: {_in_a_line(error)}") from error
    if not callable(made):
        raise OptionError(f"{name}: expected a torch module or a callable, found {type(made).__name__}")
    return made.eval() if isinstance(made, torch.nn.Module) else made


def _imported(module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise OptionError(
                f"{module_name}: no such module; expected one that is installed, or a file of the current folder {here}"
            ) from error
        raise OptionError(f"{module_name}: importing it failed: {_in_a_line(error)}") from error
    except Exception as error:  # whatever the user's code raises
        raise OptionError(f"{module_name}: importing it failed: {_in_a_line(error)}") from error


def _attribute(module: Any, module_name: str, path: str) -> Any:
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            near = get_close_matches(part, [name for name in dir(found) if not name.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(f"{module_name}: there is no {path!r} in it{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise OptionError(
            f"{module_name}:{path}: expected a function, a class or a model, found {type(found).__name__}"
        )
    return found


def _arguments(name: str, path: str, arguments: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        call = ast.parse(f"{path}{arguments}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name | ast.Attribute):
            raise ValueError("no call")
        args = [ast.literal_eval(argument) for argument in call.args]
        kwargs = {_named(keyword): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError) as error:
        raise OptionError(
            f"{name}: expected arguments that are literals, as in {path}(256, layers=4, name='small')"
        ) from error
    return args, kwargs


def _named(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("**")
    return keyword.arg


def _in_a_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
