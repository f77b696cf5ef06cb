"""DeepSpeech2 in PyTorch, with every floating-point operation accounted for.

The public face: names are loaded at first use, so that importing the package costs nothing and the decoder
never pulls in torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from deepspeech2.errors import DeepSpeech2Error as DeepSpeech2Error
    from deepspeech2.flops.counting import count as count
    from deepspeech2.flops.counting import count_training as count_training
    from deepspeech2.flops.onnx_graphs.counting import count_onnx as count_onnx
    from deepspeech2.flops.operations import OperationCount as OperationCount
    from deepspeech2.flops.registry import register_formula as register_formula
    from deepspeech2.flops.tally import Tally as Tally
    from deepspeech2.flops.training_runs import sum_steps as sum_steps
    from deepspeech2.report.table import render_table as render_table
    from deepspeech2.speech.audio import load_audio as load_audio
    from deepspeech2.speech.build import build_model as build_model
    from deepspeech2.speech.checkpoints import load_model as load_model
    from deepspeech2.speech.checkpoints import save_model as save_model
    from deepspeech2.speech.ctc_loss import ctc_losses as ctc_losses
    from deepspeech2.speech.data.manifest import Utterance as Utterance
    from deepspeech2.speech.data.manifest import read_manifest as read_manifest
    from deepspeech2.speech.evaluation import evaluate_manifest as evaluate_manifest
    from deepspeech2.speech.features import Normalizer as Normalizer
    from deepspeech2.speech.features import spectrogram as spectrogram
    from deepspeech2.speech.inference import optimize_for_inference as optimize_for_inference
    from deepspeech2.speech.network import DeepSpeech2 as DeepSpeech2
    from deepspeech2.speech.onnx_export import export_onnx as export_onnx
    from deepspeech2.speech.onnx_export import export_program as export_program
    from deepspeech2.speech.options import ConvolutionOptions as ConvolutionOptions
    from deepspeech2.speech.options import NetworkOptions as NetworkOptions
    from deepspeech2.speech.recognizer import Recognizer as Recognizer
    from deepspeech2.speech.training import Trainer as Trainer
    from deepspeech2.speech.training_options import TrainingOptions as TrainingOptions
    from deepspeech2.speech.transcript import Transcript as Transcript

# Public name -> module that defines it. Nothing is defined here.
_HOMES = {
    "DeepSpeech2Error": "deepspeech2.errors",
    "count": "deepspeech2.flops.counting",
    "count_training": "deepspeech2.flops.counting",
    "count_onnx": "deepspeech2.flops.onnx_graphs.counting",
    "OperationCount": "deepspeech2.flops.operations",
    "Tally": "deepspeech2.flops.tally",
    "register_formula": "deepspeech2.flops.registry",
    "sum_steps": "deepspeech2.flops.training_runs",
    "render_table": "deepspeech2.report.table",
    "load_audio": "deepspeech2.speech.audio",
    "build_model": "deepspeech2.speech.build",
    "load_model": "deepspeech2.speech.checkpoints",
    "save_model": "deepspeech2.speech.checkpoints",
    "ctc_losses": "deepspeech2.speech.ctc_loss",
    "export_onnx": "deepspeech2.speech.onnx_export",
    "export_program": "deepspeech2.speech.onnx_export",
    "Normalizer": "deepspeech2.speech.features",
    "spectrogram": "deepspeech2.speech.features",
    "optimize_for_inference": "deepspeech2.speech.inference",
    "DeepSpeech2": "deepspeech2.speech.network",
    "ConvolutionOptions": "deepspeech2.speech.options",
    "NetworkOptions": "deepspeech2.speech.options",
    "Utterance": "deepspeech2.speech.data.manifest",
    "read_manifest": "deepspeech2.speech.data.manifest",
    "Recognizer": "deepspeech2.speech.recognizer",
    "Transcript": "deepspeech2.speech.transcript",
    "Trainer": "deepspeech2.speech.training",
    "TrainingOptions": "deepspeech2.speech.training_options",
    "evaluate_manifest": "deepspeech2.speech.evaluation",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("deepspeech2")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deepspeech2' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
