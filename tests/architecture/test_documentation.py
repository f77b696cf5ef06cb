"""The documentation speaks of what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("recipes/**/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("src/**/*.md"),
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_the_architecture_page_names_every_file() -> None:
    parts = (ROOT / "docs" / "architecture.md").read_text().split("\n## ")
    sections = {part.split(":")[0].split("\n")[0]: part for part in parts}
    source = ROOT / "src" / "deepspeech2"
    folders = {"formulas", "operators", "onnx_graphs"}
    missing = []
    for path in source.rglob("*.py"):
        inner = path.relative_to(source).parts
        if path.name != "__init__.py" and not folders & set(inner):
            section = sections[inner[0] if len(inner) > 1 else "At the bottom"]
            missing += [] if f"`{path.name}`" in section else ["/".join(inner)]
    assert missing == []
