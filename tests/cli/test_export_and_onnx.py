"""`ds2 export`, and `ds2 flops` of what it wrote."""

import json

import pytest
import torch

from deepspeech2.cli.main import main
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import save_model
from deepspeech2.speech.options import NetworkOptions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.safetensors"
    save_model(build_model(NetworkOptions(recurrent_size=8), seed=0), path)
    return path


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_exported_onnx_is_counted_for_any_length(checkpoint, tmp_path, capsys) -> None:
    target = tmp_path / "model.onnx"
    main(["export", str(checkpoint), str(target)])
    assert "opset 17" in capsys.readouterr().out
    products = {}
    for frames in (300, 600):
        main(["flops", str(target), "--frames", str(frames), "--format", "json"])
        result = capsys.readouterr()
        assert "lower bound" not in result.err
        products[frames] = json.loads(result.out)["total"]["macs"]
    assert products[600] == 2 * products[300]


def test_program_is_written_and_counted(checkpoint, tmp_path, capsys) -> None:
    target = tmp_path / "model.pt2"
    main(["export", str(checkpoint), str(target)])
    capsys.readouterr()
    counts = []
    for model in (target, checkpoint):
        main(["flops", str(model), "--frames", "300", "--format", "json"])
        counts.append(json.loads(capsys.readouterr().out)["total"]["macs"])
    assert counts[0] == counts[1]


def test_the_formula_of_a_graph_is_that_of_its_free_axes(checkpoint, tmp_path, capsys) -> None:
    target = tmp_path / "model.onnx"
    main(["export", str(checkpoint), str(target)])
    capsys.readouterr()
    main(["flops", str(target), "--formula", "python", "--convention", "mac"])
    namespace: dict = {}
    exec(capsys.readouterr().out, namespace)
    main(["flops", str(target), "--frames", "300", "--batch", "2", "--format", "json"])
    assert namespace["operations"](2, 300) == json.loads(capsys.readouterr().out)["total"]["macs"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_formula_of_any_program_has_its_first_and_longest_axes(tmp_path, capsys) -> None:
    scripted = torch.jit.script(torch.nn.Conv1d(4, 6, 3))
    scripted.save(tmp_path / "model.pt")
    main(["flops", str(tmp_path / "model.pt"), "--shape", "1,4,50", "--formula", "text", "--convention", "mac"])
    assert capsys.readouterr().out == (
        "mac: 72*batch*time - 144*batch\nwhere time >= 3\n"
        "batch is axis 0 of input 0, time is axis 2 of input 0; other sizes as in the example\n"
    )


def test_what_cannot_be_done_is_said_in_one_line(checkpoint, tmp_path, capsys) -> None:
    assert "ends in .onnx or .pt2" in refusal(capsys, "export", checkpoint, tmp_path / "model.txt")
    assert "no such folder" in refusal(capsys, "export", checkpoint, tmp_path / "nowhere" / "model.onnx")
    main(["export", str(checkpoint), str(tmp_path / "model.onnx")])
    capsys.readouterr()
    assert "--training" in refusal(capsys, "flops", tmp_path / "model.onnx", "--training")
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:1000])
    assert "truncated" in refusal(capsys, "flops", tmp_path / "cut.onnx")


def test_export_and_flops_do_not_write_over_what_they_read(checkpoint, tmp_path, capsys) -> None:
    model = tmp_path / "model.pt2"
    model.write_bytes(checkpoint.read_bytes())
    for arguments in (("export", model, model), ("flops", model, "--frames", "9", "--output", model)):
        assert f"{model}: is read" in refusal(capsys, *arguments)
        assert model.read_bytes() == checkpoint.read_bytes()
