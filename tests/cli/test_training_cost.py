"""ds2 flops --training --manifest: equal to counting every batch of every epoch by itself, loss included."""

import json

import pytest
import torch
from torch import nn

from deepspeech2 import build_model, count_training, ctc_losses, read_manifest, sum_steps
from deepspeech2.cli.main import main
from deepspeech2.cli.training_cost import TrainingPlan, cost_of_training
from deepspeech2.errors import ClosedFormError
from deepspeech2.flops.training_runs import bilinear_form, hours_at
from deepspeech2.speech.data.batching import BatchingOptions, plan_batches
from deepspeech2.speech.options import NetworkOptions

DURATIONS = [1.0, 1.31, 0.52, 2.2, 0.4]
TEXTS = ["one", "three words here", "a", "twelve characters and more", "b"]


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "train.jsonl"
    records = zip(DURATIONS, TEXTS, strict=True)
    path.write_text(
        "".join(
            json.dumps({"audio_filepath": f"{index}.wav", "duration": seconds, "text": text}) + "\n"
            for index, (seconds, text) in enumerate(records)
        )
    )
    return path


def batch_by_itself(network, seconds, texts):
    """One step, counted with its loss at the frames and labels of its own utterances."""
    frames = torch.tensor([(round(16_000 * one) - 320) // 160 + 1 for one in seconds])
    outputs = (frames - 1) // 3 + 1
    labels = torch.tensor([len(text) for text in texts])
    targets = torch.zeros(int(labels.sum()), dtype=torch.int64)
    features = torch.empty(len(seconds), 161, int(frames.max()), device="meta")

    def loss(results):
        log_probs, _ = results
        return ctc_losses(log_probs, outputs, targets, labels).sum()

    return count_training(network, (features, frames), loss=loss, optimiser="adamw")


@pytest.mark.parametrize(
    "architecture", ["default", NetworkOptions(recurrent_size=8, cell="gru")], ids=["simple", "gru"]
)
def test_the_sum_is_that_of_all_batches(manifest, architecture) -> None:
    network = build_model(architecture, device="meta")
    batching = BatchingOptions(batch_seconds=3.5)
    cost = cost_of_training(network, TrainingPlan("default", manifest, 2, batching, "adamw"))
    assert [one.duration for one in read_manifest(manifest)] == DURATIONS
    for epoch, run in enumerate(cost.epochs):
        batches = plan_batches(DURATIONS, batching, epoch)
        tallies = [
            batch_by_itself(network, [DURATIONS[i] for i in batch], [TEXTS[i] for i in batch]) for batch in batches
        ]
        assert run.steps == len(batches)
        for phase in ("forward", "backward", "optimiser"):
            expected = [tally.phase(phase) for tally in tallies]
            found = run.phases[phase].to_dict()
            for kind, amount in found.items():
                if kind not in ("notebook", "padding_macs", "integer"):
                    assert amount == sum(getattr(one, kind) for one in expected), (epoch, phase, kind)
    assert cost.run.macs == sum(epoch.macs for epoch in cost.epochs)
    assert cost.audio_seconds == pytest.approx(sum(DURATIONS))


def test_a_step_as_a_formula_and_its_sum_by_hand() -> None:
    """x (B x 10) w (10 x 3): 30 B forward; the gradient of w as many, of x none. Adam steps 33 parameters."""
    layer = nn.Linear(10, 3).eval()
    step = count_training(layer, torch.empty(2, 10), symbolic={"batch": 0})
    assert step.at("mac", batch=7) == 2 * 30 * 7
    assert not layer.training
    run = sum_steps(step, [{"batch": 32}] * 9 + [{"batch": 12}, {"batch": 1}])
    assert (run.steps, run.macs) == (11, 60 * (32 * 9 + 13))
    alone = [count_training(layer, torch.empty(size, 10)).flops for size in (32, 12, 1)]
    assert run.flops == 9 * alone[0] + alone[1] + alone[2]
    with pytest.raises(ClosedFormError, match="needs sizes for batch"):
        sum_steps(step, [{"time": 3}])


def test_hours_are_two_operations_a_product_at_the_rate() -> None:
    step = count_training(nn.Linear(1000, 1000, bias=False), torch.empty(2, 1000), symbolic={"batch": 0})
    run = sum_steps(step, [{"batch": 900_000}])
    # 2 x 10^6 x 9 x 10^5 multiply-accumulates are 3.6 x 10^12 operations: an hour at a thousandth of a TFLOP/s.
    assert hours_at(run, 0.001) == pytest.approx(1.0)


def test_a_step_that_is_not_linear_is_refused() -> None:
    def squared(batch, size):
        return count_training(nn.Bilinear(size, size, 2), (torch.empty(batch, size),) * 2)

    with pytest.raises(ClosedFormError, match="not linear in batch and size"):
        bilinear_form(squared, ("batch", "size"))


def test_the_command_prints_and_writes(manifest, capsys) -> None:
    arguments = ["flops", "default", "--training", "--manifest", str(manifest), "--epochs", "2"]
    main([*arguments, "--format", "json", "--teraflops", "2"])
    document = json.loads(capsys.readouterr().out)
    assert document["epochs"] == len(document["per_epoch"]) == 2
    assert document["headline"] == document["total"]["flops"] == sum(one["flops"] for one in document["per_epoch"])
    assert document["hours"] == pytest.approx(2 * document["total"]["macs"] / 2e12 / 3600)
    assert document["utterances"] == 5
    assert sum(phase["flops"] for phase in document["phases"].values()) == document["headline"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training", "--manifest", "missing.jsonl"], "missing.jsonl"),
        (["--manifest", "train.jsonl"], "add --training"),
        (["--training", "--epochs", "3"], "add --training --manifest FILE"),
        (["--training", "--manifest", "train.jsonl", "--epochs", "0"], "--epochs must be at least 1, found 0"),
        (["--training", "--manifest", "train.jsonl", "--seconds", "3"], "leave out --seconds"),
        (["--training", "--manifest", "broken.jsonl"], "broken.jsonl:1"),
        (["--training", "--manifest", "short.jsonl"], "shorter than one window"),
        (["--training", "--manifest", "unheard.jsonl"], "no duration is given"),
    ],
)
def test_bad_input_is_one_line(manifest, arguments, message, monkeypatch, capsys) -> None:
    folder = manifest.parent
    monkeypatch.chdir(folder)
    (folder / "broken.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    (folder / "unheard.jsonl").write_text('{"audio_filepath": "a.wav", "text": "a"}\n')
    (folder / "short.jsonl").write_text('{"audio_filepath": "a.wav", "duration": 0.01, "text": "a"}\n')
    with pytest.raises(SystemExit) as exit_:
        main(["flops", "default", *arguments])
    printed = capsys.readouterr()
    assert exit_.value.code == 2
    assert message in printed.err
    assert printed.err.strip().count("\n") == 0
    assert printed.out == ""
