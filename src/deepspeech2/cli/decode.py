"""`ds2 decode`: texts from files of CTC posteriors."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from deepspeech2.errors import OptionError, PosteriorsError
from deepspeech2.printing import printable, standard_output, utf8
from deepspeech2.processors import available_processors

if TYPE_CHECKING:
    from deepspeech2.cli.posteriors_input import PosteriorsInput
    from deepspeech2.ctc import BeamDecoder, GreedyDecoder, Hypothesis
    from deepspeech2.ctc.posteriors_file import Utterance


@Parameter(name="*")
@dataclass(frozen=True)
class SearchChoices:
    """How to search; what is not given keeps the decoder's default."""

    lm: Path | None = None
    "Language model: ARPA, ARPA.gz, or a KenLM binary."
    beam_size: int | None = None
    "Prefixes kept after each frame (default 500; with --fast 100)."
    alpha: float | None = None
    "Weight of the language model (default 0.6, with --compat 2.5; find yours with ds2 tune)."
    beta: float | None = None
    "Reward for each word (default 2, with --compat 0.3)."
    compat: Literal["baidu", "python"] | None = None
    "Score as an original did, so that its published weights carry over."
    cutoff_prob: float | None = None
    "Take the symbols of a frame until their probabilities add up to this (default 1: all)."
    cutoff_top_n: int | None = None
    "Take at most so many symbols of a frame (default 40)."
    pauses: bool | None = None
    "Whether several delimiters may stand between two words (default: where the delimiter is no space)."
    hotword: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = ()
    "WORD=WEIGHT: favour a word; may be given several times."
    fast: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "Look-ahead, recombination and a score threshold: fewer word errors at equal beam."
    greedy: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "Most probable symbol of each frame; no search."


@Parameter(name="*")
@dataclass(frozen=True)
class OutputChoices:
    """What to write, and where."""

    format: Literal["text", "json"] = "text"
    "text: a line for each utterance, behind its name and a tab where there are several. json: an object a line."
    n_best: int = 1
    "Hypotheses for each utterance; in text, lines of name, rank, score, text."
    output: Path | None = None
    "File to write (default: standard output, each utterance as it is done)."


def decode(
    *posteriors: Path,
    search: SearchChoices | None = None,
    result: OutputChoices | None = None,
    labels: Path | None = None,
    threads: int | None = None,
) -> int:
    """Decode CTC posteriors into text.

    An .npy file holds one utterance: (time, symbols) natural log-probabilities,
    the blank last. An .npz file holds one or many: an array for each, or all
    stacked in log_probs with offsets. An utterance that cannot be decoded is
    named on standard error and the others go on; the exit status is then 1.

    For example:
    ```
    ds2 decode utterance.npy
    ds2 decode dev.npz --lm lm.arpa.gz --alpha 0.7 --beta 1.5 --output dev.txt
    ds2 decode dev.npz --lm lm.klm --hotword kronstadt=4 --format json --n-best 5
    ```

    Args:
        posteriors: .npz or .npy files.
        search: How to search.
        result: What to write.
        labels: Labels of the columns: a vocabulary file with one a line, or JSON (default: those the file names, else
            a-z, apostrophe, space).
        threads: Utterances decoded at the same time (default: one for each processor).
    """
    from deepspeech2.cli.posteriors_input import open_posteriors
    from deepspeech2.files import refuse_same

    search, result = search or SearchChoices(), result or OutputChoices()
    if not posteriors:
        raise OptionError("Expected at least one .npz or .npy file of posteriors, but none was given.")
    if threads is not None and threads < 1:
        raise OptionError(f"--threads must be at least 1, but is {threads}.")
    if result.output is not None:
        refuse_same(result.output, [*posteriors, *(path for path in (search.lm, labels) if path)])
    source = open_posteriors(posteriors, labels)
    decoder = build_decoder(source, search, result.n_best)
    return _write_all(source, decoder, result, threads or available_processors())


def build_decoder(source: PosteriorsInput, search: SearchChoices, n_best: int = 1) -> BeamDecoder | GreedyDecoder:
    """Make the decoder that the options ask for.

    Raises:
        OptionError: Options that are wrong or that contradict each other.
    """
    from deepspeech2.ctc import BeamDecoder, BeamOptions, GreedyDecoder, load_language_model

    given: dict[str, Any] = {
        name: getattr(search, name)
        for name in ("beam_size", "alpha", "beta", "compat", "cutoff_prob", "cutoff_top_n", "pauses")
        if getattr(search, name) is not None
    }
    if search.greedy:
        unused = [*given, *(name for name in ("lm", "hotword", "fast") if getattr(search, name))]
        if unused or n_best != 1:
            first = (unused or ["n_best"])[0].replace("_", "-")
            raise OptionError(f"--greedy searches nothing, so --{first} has no use with it; leave one of them out.")
        return GreedyDecoder(source.alphabet)
    for name in ("alpha", "beta", "compat", "pauses"):
        if name in given and search.lm is None:
            raise OptionError(f"--{name} is about a language model, but none was given; add --lm FILE.")
    if search.fast and search.lm is None:
        raise OptionError("--fast looks ahead in a language model, but none was given; add --lm FILE.")
    options = (BeamOptions.fast if search.fast else BeamOptions)(
        **given, n_best=n_best, hotwords=_hotwords(search.hotword)
    )
    model = load_language_model(search.lm) if search.lm is not None else None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        decoder = BeamDecoder(source.alphabet, options, model)
    for warning in warned:
        print(f"ds2: warning: {' '.join(str(warning.message).split())}", file=sys.stderr)
    return decoder


def _hotwords(choices: tuple[str, ...]) -> dict[str, float]:
    weights = {}
    for choice in choices:
        word, _, weight = choice.rpartition("=")
        try:
            weights[word] = float(weight)
        except ValueError:
            weights[word] = math.nan
        if not word or not math.isfinite(weights[word]):
            raise OptionError(f"--hotword expects WORD=WEIGHT, such as kronstadt=4, but is {choice!r}.")
    return weights


def _write_all(
    source: PosteriorsInput, decoder: BeamDecoder | GreedyDecoder, result: OutputChoices, threads: int
) -> int:
    """Decode and write every utterance; returns the exit status."""
    from deepspeech2.files import replacement

    answers = _decode_all(source, decoder, source.utterances, threads)
    total = len(source.utterances)
    if result.output is None:
        with standard_output():
            _, failed = _write(answers, total, sys.stdout, result)
        return 1 if failed else 0
    try:
        with replacement(result.output) as temporary:
            try:
                with temporary.open("w", encoding="utf-8") as file:
                    done, failed = _write(answers, total, file, result)
            except KeyboardInterrupt:
                if temporary.is_file():
                    part = result.output.with_name(result.output.name + ".part")
                    temporary.replace(part)
                    print(f"ds2: interrupted; what was done is in {part}", file=sys.stderr)
                raise
            if not done:
                raise _NothingDecodedError
    except _NothingDecodedError:
        return 1
    except OSError as error:
        raise OptionError(f"{result.output}: cannot be written: {error.strerror}.") from None
    return 1 if failed else 0


class _NothingDecodedError(Exception):
    """No utterance could be decoded: an output from before stays."""


def _write(
    answers: Iterator[tuple[Utterance, int, list[Hypothesis] | PosteriorsError]],
    total: int,
    file: IO[str],
    result: OutputChoices,
) -> tuple[int, int]:
    """Write each utterance as it comes; returns how many were written and how many could not be decoded."""
    from rich.console import Console
    from rich.progress import Progress

    # A bar among the lines of a terminal would only disturb them.
    has_bar = sys.stderr.isatty() and (result.output is not None or not sys.stdout.isatty())
    bar = Progress(console=Console(stderr=True), disable=not has_bar, redirect_stdout=False)
    done = failed = 0
    with bar:
        task = bar.add_task("decode", total=total)
        for utterance, frames, hypotheses in answers:
            if isinstance(hypotheses, PosteriorsError):
                failed += 1
                bar.console.print(
                    printable(f"ds2: {utterance.name}: {' '.join(str(hypotheses).split())}"),
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
            else:
                done += 1
                name = utterance.name
                file.write(
                    _json(utf8(name), frames, hypotheses, result) if result.format == "json"
                    else _text(printable(name) if total > 1 else "", hypotheses, result)
                )  # fmt: skip
                file.flush()
            bar.advance(task)
    if failed:
        print(f"ds2: {failed} of {total} utterances could not be decoded", file=sys.stderr)
    return done, failed


def _decode_all(
    source: PosteriorsInput, decoder: BeamDecoder | GreedyDecoder, utterances: list[Utterance], threads: int
) -> Iterator[tuple[Utterance, int, list[Hypothesis] | PosteriorsError]]:
    """Yield each utterance with its frames and its hypotheses, or what is wrong with it, in order."""
    size = 4 if threads == 1 else threads * 16  # enough for the threads to share, few enough to come out soon
    for start in range(0, len(utterances), size):
        some = utterances[start : start + size]
        matrices = [_attempt(source.matrix, utterance) for utterance in some]
        good = [matrix for matrix in matrices if not isinstance(matrix, PosteriorsError)]
        batch: Any = _attempt(lambda matrices=good: _decode_batch(decoder, matrices, threads))
        if isinstance(batch, PosteriorsError):  # one of them is bad; find out which
            batch = [_attempt(lambda matrix=matrix: _decode_one(decoder, matrix)) for matrix in good]
        answers = iter(batch)
        for utterance, matrix in zip(some, matrices, strict=True):
            if isinstance(matrix, PosteriorsError):
                yield utterance, 0, matrix
            else:
                yield utterance, len(matrix), next(answers)


def _attempt(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except PosteriorsError as error:
        return error


def _decode_one(decoder: BeamDecoder | GreedyDecoder, matrix: Any) -> list[Hypothesis]:
    found = decoder.decode(matrix)
    return found if isinstance(found, list) else [found]


def _decode_batch(decoder: BeamDecoder | GreedyDecoder, matrices: list[Any], threads: int) -> list[list[Hypothesis]]:
    from deepspeech2.ctc import GreedyDecoder

    if isinstance(decoder, GreedyDecoder):
        return [[hypothesis] for hypothesis in decoder.decode_batch(matrices)]
    return list(decoder.decode_batch(matrices, threads=threads))


def _text(name: str, hypotheses: list[Hypothesis], result: OutputChoices) -> str:
    """Write a line for each hypothesis, words one space apart: JSON keeps the text as it was decoded."""
    start = f"{name}\t" if name else ""
    texts = [" ".join(one.text.split()) for one in hypotheses]
    if result.n_best == 1:
        return f"{start}{texts[0]}\n"
    ranked = enumerate(zip(hypotheses, texts, strict=True), 1)
    return "".join(f"{start}{rank}\t{one.score:.4f}\t{text}\n" for rank, (one, text) in ranked)


def _json(name: str, frames: int, hypotheses: list[Hypothesis], result: OutputChoices) -> str:
    import msgspec

    content: dict[str, Any] = {"name": name, "frames": frames, **_fields(hypotheses[0])}
    if result.n_best > 1:
        content["hypotheses"] = [_fields(hypothesis) for hypothesis in hypotheses]
    return msgspec.json.encode(content).decode() + "\n"


def _fields(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "text": hypothesis.text,
        "score": hypothesis.score,
        "acoustic_score": hypothesis.acoustic_score,
        "language_model_score": hypothesis.language_model_score,
        "words": hypothesis.words,
        "characters": hypothesis.characters,
    }
