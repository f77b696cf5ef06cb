"""CTC decoding: greedy and prefix beam search, with n-gram language models. Imports no torch."""

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.beam import BeamDecoder, BeamStream
from deepspeech2.ctc.confidence import word_confidences
from deepspeech2.ctc.greedy import GreedyDecoder
from deepspeech2.ctc.hypothesis import DecodeTally, Hypotheses, Hypothesis
from deepspeech2.ctc.language_model import LanguageModel, load_language_model
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.ctc.reference import ReferenceDecoder
from deepspeech2.ctc.transcript import Character, Word

__all__ = [
    "Alphabet",
    "BeamDecoder",
    "BeamOptions",
    "BeamStream",
    "Character",
    "DecodeTally",
    "GreedyDecoder",
    "Hypotheses",
    "Hypothesis",
    "LanguageModel",
    "ReferenceDecoder",
    "Word",
    "load_language_model",
    "word_confidences",
]
