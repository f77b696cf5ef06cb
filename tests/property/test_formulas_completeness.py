"""Every public formula is proven by some test beside this one."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import deepspeech2.flops.formulas as formulas


def public_formulas() -> set[str]:
    found = set()
    for module in pkgutil.iter_modules(formulas.__path__):
        home = importlib.import_module(f"{formulas.__name__}.{module.name}")
        for name, function in inspect.getmembers(home, inspect.isfunction):
            if function.__module__ == home.__name__ and not name.startswith("_"):
                found.add(name)
    return found


def called_in_tests() -> set[str]:
    names = set()
    for path in Path(__file__).parent.glob("test_formulas_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                names.add(node.id)
    return names


def test_no_formula_is_without_its_proof() -> None:
    assert len(public_formulas()) > 25
    assert public_formulas() - called_in_tests() == set()
