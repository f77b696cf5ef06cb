"""`ds2 convert`: any checkpoint to the package's own format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def convert(
    source: Annotated[Path, Parameter(name="IN")],
    target: Annotated[Path, Parameter(name="OUT")],
    /,
    *,
    normalizer: Path | None = None,
    labels: Path | None = None,
) -> None:
    """Convert a checkpoint to one .safetensors file with its configuration inside.

    Reads Baidu's v2 params.tar.gz and fluid params.pdparams (or the folder
    that holds it), and this package's own files. The architecture is found
    from the content. OUT appears complete or not at all.

    Examples:
    ```
    ds2 convert params.tar.gz en.safetensors --normalizer mean_std.npz
    ds2 convert aishell/params.pdparams zh.safetensors --labels vocab.txt
    ```

    Parameters
    ----------
    source
        The checkpoint to read, or a model of the package: small.
    target
        The .safetensors file to write.
    normalizer
        An .npz with mean and std of the features (Baidu's mean_std.npz).
    labels
        A vocabulary: UTF-8, one symbol a line, no blank; or a vocab.json.
    """
    from deepspeech2.ctc.alphabet import Alphabet
    from deepspeech2.errors import CheckpointError, VocabularyError
    from deepspeech2.files import refuse_same
    from deepspeech2.printing import printable

    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: expected a name that ends in .safetensors")
    if not target.absolute().parent.is_dir():
        raise CheckpointError(f"{target}: no such folder to write to: {target.absolute().parent}")
    refuse_same(target, [source, *(path for path in (normalizer, labels) if path)])

    from deepspeech2.speech.checkpoints import checkpoint_kind, load_model, save_model

    alphabet = Alphabet.from_file(labels) if labels else None
    if alphabet and alphabet.blank != len(alphabet.labels):
        raise VocabularyError(f"{labels}: expected the blank as the last label, found it as label {alphabet.blank}")
    kind = checkpoint_kind(source)
    model = load_model(source, normalizer=normalizer, labels=alphabet.labels if alphabet else None)
    save_model(model, target)

    options = model.options
    layer = "GRU" if options.cell == "gru" else "shared simple" if options.shared else "separate simple"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{printable(target)}: from {kind}, {len(options.convolutions)} convolutions, "
        f"{options.recurrent_layers} {layer} layers of {options.recurrent_size}, "
        f"{options.vocab_size} labels ({'known' if model.labels else 'not known'}), "
        f"{'with' if model.normalizer else 'without'} normalizer, {parameters:,} parameters"
    )
