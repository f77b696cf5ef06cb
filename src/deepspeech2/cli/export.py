"""`ds2 export`: a model for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def export(
    source: Annotated[Path, Parameter(name="IN")],
    target: Annotated[Path, Parameter(name="OUT")],
    /,
    *,
    normalizer: Path | None = None,
) -> None:
    """Write a model as OUT.onnx (for ONNX Runtime and others) or OUT.pt2 (torch.export).

    Both take normalised spectrograms (batch, 161, time) and the valid frames
    of each utterance (batch), and give log-probabilities and the valid output
    frames. Batch and time stay free. OUT appears complete or not at all.

    Examples:
    ```
    ds2 export model.safetensors model.onnx
    ds2 export params.tar.gz model.pt2
    ```

    Parameters
    ----------
    source
        The checkpoint to read, one of this project or of Baidu's, or a model of the package: small.
    target
        The file to write; its ending, .onnx or .pt2, says which form.
    normalizer
        An .npz with mean and std of the features (Baidu's mean_std.npz), to
        be written into the metadata of OUT.onnx.
    """
    from deepspeech2.errors import OptionError
    from deepspeech2.files import refuse_same
    from deepspeech2.printing import printable

    if target.suffix not in (".onnx", ".pt2"):
        raise OptionError(f"{target}: expected a name that ends in .onnx or .pt2")
    if not target.absolute().parent.is_dir():
        raise OptionError(f"{target}: no such folder to write to: {target.absolute().parent}")
    refuse_same(target, [source, *([normalizer] if normalizer else [])])

    from deepspeech2.speech.checkpoints import load_model
    from deepspeech2.speech.onnx_export import OPSET, export_onnx, export_program
    from deepspeech2.speech.pretrained import choose_pretrained

    shipped = choose_pretrained(source)
    model = load_model(shipped.model if shipped else source, normalizer=normalizer)
    if target.suffix == ".onnx":
        export_onnx(model, target)
        form = f"ONNX, opset {OPSET}"
    else:
        export_program(model, target)
        form = "torch.export"
    print(f"{printable(target)}: {form}, {target.stat().st_size:,} bytes")
