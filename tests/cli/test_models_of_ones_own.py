"""`ds2 flops module:function` and `ds2 flops config.json`: models that are in no file of weights."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from deepspeech2.cli.main import main

MODULE = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self, width=32, layers=1, **options):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(80, width), *[nn.Linear(width, width) for _ in range(layers)])
        self.drop = nn.Dropout(0.5)

    def forward(self, frames, scale=None):
        return self.drop(self.layers(frames)) * (1 if scale is None else scale)

def large():
    return Encoder(width=64)

def asks():
    return lambda x: x * 2 if x.sum() > 0 else x

model = Encoder(16)
number = 3
def nothing(): return None
def broken(): return nn.Linear(3)
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_module(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(MODULE)
    (tmp_path / "half_a_module.py").write_text("import no_such_dependency\n")
    (tmp_path / "wrong_module.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("own_models", "half_a_module", "wrong_module"):
        sys.modules.pop(name, None)


def counted(capsys, *arguments):
    main(["flops", *arguments, "--format", "json"])
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["flops", *arguments])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("ds2: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("name", "width", "layers"),
    [
        ("own_models:Encoder", 32, 1),
        ("own_models:Encoder(48, layers=2)", 48, 2),
        ("own_models:large", 64, 1),
        ("own_models:large()", 64, 1),
        ("own_models:model", 16, 1),
    ],
)
def test_a_class_a_function_or_a_model(capsys, name, width, layers) -> None:
    """In eval mode: nothing is dropped."""
    document = counted(capsys, name, "--shape", "1,10,80")
    assert document["total"]["macs"] == 10 * (80 * width + layers * width * width)
    assert not any("dropout" in row["operator"] for row in document["layers"])


def test_inputs_by_name_a_training_step_and_a_formula(capsys) -> None:
    named = counted(capsys, "own_models:large", "--shape", "scale=64", "--shape", "frames=1,10,80")
    assert named["total"]["kinds"]["multiply"] == 10 * (80 * 64 + 64 * 64) + 10 * 64
    step = counted(capsys, "own_models:large", "--shape", "1,10,80", "--training")
    assert step["total"]["macs"] == 10 * (2 * 80 * 64 + 3 * 64 * 64)
    main(["flops", "own_models:large", "--shape", "2,10,80", "--formula", "text", "--convention", "mac"])
    # The longest axis, of the 80 mels, is fixed by the first layer: time is the next one.
    where = "batch is axis 0 of input 0, time is axis 1 of input 0; other sizes as in the example"
    assert capsys.readouterr().out == f"mac: 9216*batch*time\n{where}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own_modles:large"], ["own_modles: no such module", "current folder"]),
        (["own_models:larg"], ["no 'larg' in it", "did you mean 'large'"]),
        (["own_models:number"], ["expected a function, a class or a model, found int"]),
        (["own_models:nothing"], ["expected a torch module or a callable, found NoneType"]),
        (["own_models:broken"], ["making the model failed: TypeError", "out_features"]),
        (["own_models:Encoder(print('x'))"], ["arguments that are literals"]),
        (["own_models:Encoder(**{'width': 3})"], ["arguments that are literals"]),
        (["own_models:Encoder(3)(4)"], ["arguments that are literals"]),
        (["own_models:Encoder(1, 2, 3, 4)"], ["making the model failed: TypeError"]),
        (["half_a_module:f"], ["importing it failed: ModuleNotFoundError", "no_such_dependency"]),
        (["wrong_module:f"], ["importing it failed: ZeroDivisionError"]),
        (["own_models:large", "--shape", "1,10,81"], ["(1, 10, 81)", "[10, 81]"]),
        (["own_models:asks", "--shape", "3"], ["needs the value", "own_models.py:18"]),
        (["own_models:large", "--shape", "a=1,10,80", "--shape", "2"], ["name every input once, or none"]),
        (["own_models:large", "--shape", "wrong=1,10,80"], ["unexpected keyword argument 'wrong'"]),
    ],
)
def test_mistakes_are_one_line(capsys, arguments, words) -> None:
    message = refused(capsys, *arguments, *(["--shape", "1,10,80"] if "--shape" not in arguments else []))
    for word in words:
        assert word in message, message


def test_a_configuration_is_counted_without_weights(capsys, tmp_path) -> None:
    """Llama of width 64, f 128, 2 layers, 4 heads: q, k, v, output and three linear layers, causal pairs, the head."""
    if importlib.util.find_spec("transformers") is None and os.environ.get("DS2_REQUIRE_OPTIONAL_TOOLS") != "1":
        pytest.skip("the transformers package is not installed")
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "vocab_size": 100}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    expected = 2 * (16 * (4 * 64 * 64 + 3 * 64 * 128) + 2 * 136 * 64) + 16 * 64 * 100
    for name, shape in (("config.json", "1,16:int64"), (str(tmp_path), "input_ids=1,16:int64")):
        assert counted(capsys, name, "--shape", shape)["total"]["macs"] == expected


def test_configurations_that_are_none(capsys, tmp_path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "unknown.json").write_text('{"model_type": "no-such-model"}')
    assert "found no model_type in it" in refused(capsys, "list.json", "--shape", "1")
    assert "expected JSON" in refused(capsys, "text.json", "--shape", "1")
    if importlib.util.find_spec("transformers") is not None:
        assert "cannot build it" in refused(capsys, "unknown.json", "--shape", "1")


@pytest.mark.parametrize(
    "arguments",
    [
        ["librispech"],
        ["default", "--depth", "0"],
        ["default", "--convention", "macs"],
        ["default", "nowhere.flac"],
        ["default", "--frames", "0"],
        ["default", "--bogus"],
        ["default", "--peak", "1"],
    ],
)
def test_a_slip_is_refused_before_torch_is_imported(arguments) -> None:
    code = (
        "import sys\nfrom deepspeech2.cli.main import main\n"
        f"try:\n    main(['flops', *{arguments!r}])\nexcept SystemExit as stop:\n"
        "    sys.exit(7 if 'torch' in sys.modules else stop.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
