"""Imports run down only: cli -> {report, speech} -> {flops, ctc} -> {errors, units, files, printing, processors}."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "deepspeech2"

# What each part may import from the package. `speech` reaches `flops` through one door only: the file that
# registers the formulas of its own operators.
ALLOWED = {
    "errors": set(),
    "units": set(),
    "files": {"errors"},
    "printing": {"errors"},
    "processors": set(),
    "flops": {"flops", "errors", "units", "files", "printing", "processors"},
    "ctc": {"ctc", "errors", "units", "files", "printing", "processors"},
    "report": {"report", "flops", "errors", "units", "files", "printing", "processors"},
    "speech": {"speech", "ctc", "errors", "units", "files", "printing", "processors"},
    "cli": {"cli", "report", "speech", "flops", "ctc", "errors", "units", "files", "printing", "processors"},
    "__init__": {"errors", "units", "files", "printing", "processors", "flops", "ctc", "report", "speech", "cli"},
}
DOORS = {"speech/operation_counts.py": {"flops"}}
FORBIDDEN_LIBRARIES = {
    "ctc": {"torch", "sympy"},
    "report": {"torch"},
    "errors": {"torch", "numpy"},
    "units": {"torch", "numpy"},
    "processors": {"torch", "numpy"},
}


def imported_modules(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def violations(path: Path) -> list[str]:
    relative = path.relative_to(SOURCE).as_posix()
    part = relative.split("/")[0].removesuffix(".py")
    allowed = ALLOWED[part] | DOORS.get(relative, set())
    bad = []
    for line, module in imported_modules(path):
        names = module.split(".")
        # The package itself loads any of its names on demand: asking it would go around the wall.
        own = names[0] == "deepspeech2"
        if own and (len(names) < 2 or names[1] not in allowed):
            bad.append(f"src/deepspeech2/{relative}:{line}: {part} may not import {module}")
        if names[0] in FORBIDDEN_LIBRARIES.get(part, set()):
            bad.append(f"src/deepspeech2/{relative}:{line}: {part} may not import {names[0]}")
    return bad


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_imports_run_down(path: Path) -> None:
    assert violations(path) == []


def test_no_file_is_named_for_nothing() -> None:
    names = {path.stem for path in SOURCE.rglob("*.py")}
    assert not names & {"utils", "helpers", "common", "misc", "util"}
