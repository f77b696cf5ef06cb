"""The decoders of the benchmark: which runs in which setting, and on how many sentences."""

from __future__ import annotations

from dataclasses import dataclass

SETTINGS = ("none", "model")


@dataclass(frozen=True)
class Entry:
    """One row of the benchmark.

    Attributes:
        name: How results and tables call it.
        adapter: Module and class of its adapter.
        setting: "none" (no language model) or "model" (the word 3-gram).
        weights: Whose alpha and beta of `weights.json` it uses (its own unless named).
        sentences: Beam -> how many sentences of a set are decoded, where all would take too long.
        repeats: Beam -> how many times, where the default would take too long.
    """

    name: str
    adapter: str
    setting: str
    weights: str = ""
    sentences: tuple[tuple[int, int], ...] = ()
    repeats: tuple[tuple[int, int], ...] = ()

    def limit(self, beam: int, available: int) -> int:
        """Return how many sentences are decoded at this beam."""
        return min(dict(self.sentences).get(beam, available), available)

    def repetitions(self, beam: int, default: int) -> int:
        """Return how many times each sentence is decoded at this beam."""
        return min(dict(self.repeats).get(beam, default), default)


_OURS = "benchmarks.peers.deepspeech2_ctc:"
_SLOW = {"sentences": ((100, 5), (500, 2)), "repeats": ((16, 1), (100, 1), (500, 1))}
_HEAVY = {"repeats": ((16, 2), (100, 1), (500, 1))}
_HEAVIER = {"sentences": ((500, 25),), **_HEAVY}

ENTRIES = (
    Entry("deepspeech2", _OURS + "Exact", "none"),
    Entry("flashlight-text logadd", "benchmarks.peers.flashlight_ctc:FlashlightLexiconFree", "none", **_HEAVIER),
    Entry("ctc-beam-decoder", "benchmarks.peers.pyctcdecode_ctc:CtcBeamDecoder", "none", **_HEAVY),
    Entry("fast-ctc-decode", "benchmarks.peers.fast_ctc:FastCtcDecode", "none", **_HEAVIER),
    Entry("pyctcdecode", "benchmarks.peers.pyctcdecode_ctc:PyCtcDecode", "none", **_SLOW),
    Entry("original Python", "benchmarks.peers.original_python:OriginalPython", "none", **_SLOW),
    Entry("deepspeech2", _OURS + "Exact", "model"),
    Entry("deepspeech2 fast", _OURS + "Fast", "model"),
    Entry("deepspeech2 kenlm", _OURS + "KenLM", "model", weights="deepspeech2"),
    Entry("flashlight lexicon logadd", "benchmarks.peers.flashlight_ctc:FlashlightLexicon", "model", **_HEAVY),
    Entry("flashlight lexicon max", "benchmarks.peers.flashlight_ctc:FlashlightLexiconMax", "model", **_HEAVIER),
    # Its own weights were found at beam 100; at 500 it does better on hard with these.
    Entry(
        "flashlight lexicon logadd, our weights",
        "benchmarks.peers.flashlight_ctc:FlashlightLexicon",
        "model",
        sentences=((16, 0), (100, 0)),
        repeats=((500, 1),),
    ),
    Entry("ctc-beam-decoder", "benchmarks.peers.pyctcdecode_ctc:CtcBeamDecoder", "model", **_HEAVY),
    Entry("pyctcdecode", "benchmarks.peers.pyctcdecode_ctc:PyCtcDecode", "model", weights="ctc-beam-decoder", **_SLOW),
    Entry("original Python", "benchmarks.peers.original_python:OriginalPython", "model", **_SLOW),
)
