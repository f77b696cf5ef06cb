"""`ds2 tune`: the alpha and beta that give the fewest word errors on a development set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from deepspeech2.cli.decode import SearchChoices, build_decoder
from deepspeech2.errors import InputError, OptionError, PosteriorsError

if TYPE_CHECKING:
    from deepspeech2.cli.posteriors_input import PosteriorsInput
    from deepspeech2.ctc.tuning import Point, TuningOptions, TuningResult


@Parameter(name="*")
@dataclass(frozen=True)
class TuningChoices:
    """Where to search: a grid first, then ever closer around its best point, which may lie outside."""

    alpha: Annotated[tuple[float, float], Parameter(negative="", show_default=False)] | None = None
    "First and last alpha of the grid (default 0.2 1.4, with --compat 1 3.2)."
    beta: Annotated[tuple[float, float], Parameter(negative="", show_default=False)] | None = None
    "First and last beta of the grid (default 0 3, with --compat 0.1 0.45)."
    alphas: int = 5
    "Alphas of the grid."
    betas: int = 4
    "Betas of the grid."
    refinements: int = 2
    "How many times the step is halved around the best point."
    most_points: int = 200
    "Stop after so many points."


@Parameter(name="*")
@dataclass(frozen=True)
class DecodingChoices:
    """How each point is decoded."""

    beam_size: int | None = None
    "Prefixes kept after each frame (default 500; with --fast 100)."
    fast: Annotated[bool, Parameter(negative="", show_default=False)] = False
    "Decode with the fast profile."
    compat: Literal["baidu", "python"] | None = None
    "Score as an original did, as for ds2 decode."
    labels: Path | None = None
    "Labels of the columns, as for ds2 decode."
    threads: int | None = None
    "Utterances decoded at the same time (default: one for each processor)."


def tune(
    *posteriors: Path,
    lm: Path,
    references: Path | None = None,
    where: TuningChoices | None = None,
    how: DecodingChoices | None = None,
    results: Path = Path("tuning.jsonl"),
    picture: Path | None = None,
) -> None:
    """Find the alpha and beta of a language model on a development set.

    Every point decodes the whole set; fewest word errors win, then fewest
    character errors. Each result is saved as it comes: an interrupted search
    goes on where it was when the same command is given again.

    For example:
    ```
    ds2 tune dev.npz --references dev.txt --lm lm.arpa.gz
    ds2 tune dev.npz --lm lm.klm --alpha 0.2 1.4 --beta 0 3 --picture tuning.svg
    ```

    Args:
        posteriors: .npz or .npy files, as for ds2 decode.
        lm: Language model: ARPA, ARPA.gz, or a KenLM binary.
        references: What was said: a line for each utterance, in order; or name, tab, text (default: the transcripts
            in the .npz files).
        where: The grid.
        how: The decoder.
        results: File of the results, a line of JSON for each point.
        picture: Heat map to draw (default: beside the results, ending in .svg).
    """
    from deepspeech2.cli.posteriors_input import open_posteriors
    from deepspeech2.ctc.tuning import TuningOptions, best_of, search
    from deepspeech2.files import check_writable, refuse_same

    where, how = where or TuningChoices(), how or DecodingChoices()
    if not posteriors:
        raise OptionError("Expected at least one .npz or .npy file of posteriors, but none was given.")
    options = TuningOptions(
        where.alpha or ((1.0, 3.2) if how.compat else (0.2, 1.4)),
        where.beta or ((0.1, 0.45) if how.compat else (0.0, 3.0)),
        where.alphas, where.betas, where.refinements, where.most_points
    )  # fmt: skip
    picture = picture or results.with_suffix(".svg")
    check_writable(picture)
    if picture.resolve() == results.resolve():
        raise OptionError(f"{picture}: the heat map and the results need a file each; name another with --picture.")
    for path in (results, picture):
        refuse_same(path, [*posteriors, *(given for given in (lm, references, how.labels) if given)])
    source = open_posteriors(posteriors, how.labels)
    said = read_references(source, references)
    log = ResultsLog(results, _fingerprint(posteriors, references, lm, how))
    evaluate = _evaluator(source, said, lm, how)
    tried = _search_with_progress(search, evaluate, options, log)
    _draw(tried, options, picture)
    _print_table(list(tried.values()))
    best = best_of(tried.values())
    print(f"\nbest: {_options_of(lm, best, how)}")
    print(f"word error rate {100 * best.wer:.2f}%, character error rate {100 * best.cer:.2f}%; heat map in {picture}")


def _options_of(lm: Path, best: TuningResult, how: DecodingChoices) -> str:
    """The options that make `ds2 decode` search as the best point was found."""
    options = ["--lm", shlex.quote(str(lm)), "--alpha", f"{best.alpha:g}", "--beta", f"{best.beta:g}"]
    options += ["--fast"] * how.fast
    options += ["--beam-size", str(how.beam_size)] if how.beam_size is not None else []
    options += ["--compat", how.compat] if how.compat else []
    options += ["--labels", shlex.quote(str(how.labels))] if how.labels else []
    return " ".join(options)


def read_references(source: PosteriorsInput, path: Path | None) -> list[str]:
    """Return what was said in each utterance, from the file or from the posteriors' own transcripts.

    Raises:
        InputError: Missing, unreadable, or not one text for each utterance.
    """
    names = [utterance.name for utterance in source.utterances]
    if path is None:
        said = [text for file in source.files for text in file.transcripts or ()]
        if len(said) != len(names):
            raise InputError("Expected --references FILE, because not all files of posteriors hold transcripts.")
    else:
        said = _read_lines(path, names)
    if not any(text.split() for text in said):
        raise InputError(f"{path or source.files[0].path}: the references hold no word.")
    return [" ".join(text.split()) for text in said]


def _read_lines(path: Path, names: list[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot read the references: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: references are UTF-8 text, but byte {error.start} is not.") from None
    if all("\t" in line for line in lines):
        texts = dict(line.split("\t", 1) for line in lines)
        missing = [name for name in names if name not in texts]
        if missing:
            raise InputError(f"{path}: no line for utterance {missing[0]!r} ({len(missing)} of {len(names)} missing).")
        return [texts[name] for name in names]
    if len(lines) != len(names):
        raise InputError(f"{path}: expected a line for each of {len(names)} utterances, but found {len(lines)}.")
    return lines


class ResultsLog:
    """The file of results: its first line says what was decoded, each further one is a point."""

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        """Read what an earlier search left.

        Raises:
            OptionError: The file is of other inputs, or no file of results.
        """
        import msgspec

        from deepspeech2.ctc.tuning import TuningResult
        from deepspeech2.files import replacing

        self.path = path
        self.known: dict[Point, TuningResult] = {}
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a line cut short by a crash counts as not written
            lines = [msgspec.json.decode(line) for line in whole.splitlines()]
            found = [msgspec.convert(line, TuningResult) for line in lines[1:]]
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise OptionError(f"{path}: not a file of tuning results ({error}); name another with --results.") from None
        if text and not lines:  # the first line is written whole: this one is somebody else's
            raise OptionError(f"{path}: not a file of tuning results; name another with --results.")
        if lines and lines[0] != fingerprint:
            raise OptionError(f"{path}: these results are of other inputs or another decoder; name another --results.")
        try:
            if not whole or whole != text:
                with replacing(path) as file:
                    file.write(whole or msgspec.json.encode(fingerprint).decode() + "\n")
        except OSError as error:
            raise OptionError(f"{path}: cannot be written: {error.strerror}.") from None
        self.known = {result.point: result for result in found}

    def add(self, result: TuningResult) -> None:
        """Save one point."""
        import msgspec

        with self.path.open("a", encoding="utf-8") as file:
            file.write(msgspec.json.encode(result).decode() + "\n")


def _fingerprint(
    posteriors: tuple[Path, ...], references: Path | None, lm: Path, how: DecodingChoices
) -> dict[str, Any]:
    """Say what results depend on: the contents of all files and the decoder's options."""
    import hashlib

    digests = []
    for path in (*posteriors, lm, *(path for path in (references, how.labels) if path)):
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest()[:16])
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
    return {"ds2_tune": 1, "files": digests, "beam_size": how.beam_size, "fast": how.fast, "compat": how.compat}


def _evaluator(
    source: PosteriorsInput, said: list[str], lm: Path, how: DecodingChoices
) -> Callable[[float, float], TuningResult]:
    """Build the decoder once; return what decodes everything with given weights and counts the errors."""
    from deepspeech2.ctc import BeamDecoder
    from deepspeech2.ctc.tuning import TuningResult
    from deepspeech2.processors import available_processors
    from deepspeech2.speech.scoring import error_rates

    if how.threads is not None and how.threads < 1:
        raise OptionError(f"--threads must be at least 1, but is {how.threads}.")
    decoder = build_decoder(source, SearchChoices(lm=lm, beam_size=how.beam_size, fast=how.fast, compat=how.compat))
    assert isinstance(decoder, BeamDecoder)
    matrices = []
    for utterance in source.utterances:
        try:
            matrices.append(source.matrix(utterance))
        except PosteriorsError as error:
            raise PosteriorsError(f"{utterance.name}: {error}") from None
    threads = how.threads or available_processors()

    def evaluate(alpha: float, beta: float) -> TuningResult:
        decoder.reset(alpha=alpha, beta=beta)
        heard = [" ".join(found[0].text.split()) for found in decoder.decode_batch(matrices, threads=threads)]
        words, characters = error_rates(said, heard)
        return TuningResult(alpha, beta, words.rate, characters.rate)

    return evaluate


def _search_with_progress(search: Any, evaluate: Any, options: TuningOptions, log: ResultsLog) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    from deepspeech2.ctc.tuning import grid

    console = Console(stderr=True)
    count = min(len(grid(options)) + 8 * options.refinements, options.most_points)
    with Progress(console=console, disable=not sys.stderr.isatty(), redirect_stdout=False) as bar:
        task = bar.add_task("tune", total=count)
        best: list[float] = []

        def evaluate_and_save(alpha: float, beta: float) -> TuningResult:
            result: TuningResult = evaluate(alpha, beta)
            log.add(result)
            best[:] = [min([result.wer, *best])]
            bar.update(task, advance=1, description=f"tune: best WER {100 * best[0]:.2f}%")
            return result

        bar.advance(task, len(log.known))
        try:
            return search(evaluate_and_save, options, log.known)
        except KeyboardInterrupt:
            print(f"ds2: interrupted; the same command goes on from {log.path}", file=sys.stderr)
            raise


def _draw(tried: dict[Point, TuningResult], options: TuningOptions, path: Path) -> None:
    from deepspeech2.ctc.tuning import best_of, level_of
    from deepspeech2.files import replacing
    from deepspeech2.report.heat_map import Cell, HeatMapLabels, render_heat_map

    first, second = options.steps
    cells = []
    for result in tried.values():
        scale = 2 ** level_of(result.point, options)
        cells.append(Cell(result.alpha, result.beta, first / scale, second / scale, 100 * result.wer))
    best = best_of(tried.values()).point
    picture = render_heat_map(cells, best, HeatMapLabels("Word error rate, percent", "alpha", "beta", "%"))
    try:
        with replacing(path) as file:
            file.write(picture)
    except OSError as error:
        raise OptionError(f"{path}: the heat map cannot be written: {error.strerror}.") from None


def _print_table(results: list[TuningResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"best of {len(results)} points")
    for name in ("alpha", "beta", "WER %", "CER %"):
        table.add_column(name, justify="right")
    for result in sorted(results, key=lambda result: (result.wer, result.cer, result.point))[:10]:
        table.add_row(f"{result.alpha:g}", f"{result.beta:g}", f"{100 * result.wer:.2f}", f"{100 * result.cer:.2f}")
    Console().print(table)
