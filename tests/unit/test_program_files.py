"""Files of programs: exports and TorchScript told apart by what torch writes into them, whatever the code is called."""

import io
import logging
import shutil
import sys
import warnings
import zipfile

import pytest
import torch

from deepspeech2 import count
from deepspeech2.cli.main import main
from deepspeech2.errors import CheckpointError
from deepspeech2.flops.programs import kind_of, load_program

# Members as torch 2.13 and, the last export, torch 2.7 write them.
ARCHIVES = {
    "a script": (["net/data.pkl", "net/code/__torch__/net.py", "net/constants.pkl", "net/version"], "script"),
    "a script of a package models": (
        ["net/data.pkl", "net/code/__torch__/mypkg/models/net.py", "net/constants.pkl", "net/version"],
        "script",
    ),
    "a script of a module mymodels": (["a/data.pkl", "a/code/__torch__/mymodels/__.py", "a/constants.pkl"], "script"),
    "a script in a file models.pt": (["models/data.pkl", "models/constants.pkl", "models/version"], "script"),
    "a script with a JSON file beside it": (["a/constants.pkl", "a/extra/models/model.json"], "script"),
    "an export": (["l/data/weights/weight_0", "l/models/model.json", "l/archive_format", "l/version"], "export"),
    "an export in a file models.pt2": (["models/models/model.json", "models/archive_format"], "export"),
    "an export with a pickle beside it": (
        ["l/extra/constants.pkl", "l/models/model.json", "l/archive_format"],
        "export",
    ),
    "an export of torch 2.7": (
        ["serialized_exported_program.json", "extra_files/constants.pkl", "version"],
        "export",
    ),
    "weights": (["w/data.pkl", "w/data/0", "w/version"], "other"),
    "weights in a file models.pt": (["models/data.pkl", "models/data/0", "models/version"], "other"),
    "a compiled package": (["p/data/aotinductor/model/x.so", "p/archive_format"], "other"),
    "an archive of documents": (["models/readme.txt", "constants.txt"], "other"),
    "nothing": ([], "other"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_an_archive_is_follows_from_its_own_members(name) -> None:
    members, kind = ARCHIVES[name]
    assert kind_of(members) == kind


SOURCE = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 8)

    def forward(self, x):
        return torch.relu(self.layer(x))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A network of 4 x 8 products a row, from a package with a folder `models`, as most have."""
    folder = tmp_path / "speechpackage" / "models"
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    from speechpackage.models.net import Net

    yield Net().eval()
    for name in [name for name in sys.modules if name.partition(".")[0] == "speechpackage"]:
        del sys.modules[name]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_scripts_of_a_package_with_models_in_its_path_are_counted(package, tmp_path, capfd, how) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.script(package) if how == "script" else torch.jit.trace(package, torch.zeros(2, 4))
        torch.jit.save(program, tmp_path / "models.pt")
    main(["flops", str(tmp_path / "models.pt"), "--shape", "2,4", "--format", "csv"])
    output = capfd.readouterr()
    assert output.err == ""
    assert count(load_program(tmp_path / "models.pt"), torch.zeros(2, 4), strict=True).macs == 2 * 4 * 8


def test_an_export_of_any_file_name_loads_without_a_word(package, tmp_path, capfd) -> None:
    exported = torch.export.export(package, (torch.zeros(2, 4),))
    torch.export.save(exported, tmp_path / "net.pt2")
    shutil.copy(tmp_path / "net.pt2", tmp_path / "models.bin")
    assert count(load_program(tmp_path / "models.bin"), torch.zeros(2, 4), strict=True).macs == 2 * 4 * 8
    assert capfd.readouterr().err == ""


def test_a_damaged_export_is_refused_with_what_is_wrong_and_nothing_else(package, tmp_path, capfd) -> None:
    """Without the member that says which weight is which."""
    whole = io.BytesIO()
    torch.export.save(torch.export.export(package, (torch.zeros(2, 4),)), whole)
    path = tmp_path / "damaged.pt2"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as damaged:
        for member in archive.infolist():
            if not member.filename.endswith("archive_version"):
                damaged.writestr(member.filename, archive.read(member))
    logs = [logging.getLogger(name) for name in ("torch.export", "torch.export.pt2_archive._package")]
    before = [log.filters[:] for log in logs]
    with pytest.raises(CheckpointError, match="archive_version: file not found") as raised:
        load_program(path)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""
    assert [log.filters for log in logs] == before


class Tied(torch.nn.Module):
    """10 x 8 weights, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(10, 8)
        self.output = torch.nn.Linear(8, 10, bias=False)
        self.output.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.table(ids))


def test_a_weight_of_two_names_counts_once_in_a_file_too(tmp_path) -> None:
    ids = torch.zeros(1, 3, dtype=torch.int64)
    torch.export.save(torch.export.export(Tied(), (ids,)), tmp_path / "tied.pt2")
    tally = count(load_program(tmp_path / "tied.pt2"), ids)
    assert tally.parameters == 10 * 8
    assert tally.memory.parameters == 4 * 10 * 8
    assert tally.macs == 3 * 8 * 10
