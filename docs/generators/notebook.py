"""Writes docs/notebook.md: for each operator of the notebook its rule, what its code did, and the exact count.

Run `python docs/generators/notebook.py`; a test checks that the page is what this prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepspeech2.flops.formulas.activations import clipped_relu, relu, softmax
from deepspeech2.flops.formulas.convolutions import Convolution, Window, convolution
from deepspeech2.flops.formulas.normalisation import batch_norm_inference
from deepspeech2.flops.formulas.products import fully_connected
from deepspeech2.flops.formulas.projections import block_expand, identity_projection
from deepspeech2.flops.formulas.recurrences import clipped_recurrence, gated_recurrence
from deepspeech2.flops.operations import OperationCount

STEPS = 333  # ten seconds: 999 frames, (999 - 1) // 3 + 1 after the first convolution
PAGE = Path(__file__).parents[1] / "notebook.md"


@dataclass(frozen=True)
class Comparison:
    """One operator on the layer of the LibriSpeech model (or BaiduEN8k for the GRU) that uses it."""

    operator: str
    example: str
    rule: str
    code: str
    exact: OperationCount
    why: str


def comparisons() -> list[Comparison]:
    """All operators, in the order of the network."""
    image = Convolution(1, 1, 32, [Window(161, 41, 2, 20, 20), Window(999, 11, 3, 5, 5)])
    cells = 32 * 81 * STEPS
    return [
        Comparison(
            "convolution",
            "conv 0: 1 to 32 channels, 41 x 11, result 81 x 333",
            "2 Cin Kx Ky - 1 per element of the result, one more with a bias",
            "multiplies by W H Cout and by Cin a second time",
            convolution(image, bias=False),
            "the rule is exact for a dense convolution; it says nothing of taps on padding, reported here beside it",
        ),
        Comparison(
            "batch norm",
            "after conv 0: 32 channels of 81 x 333",
            "4 per element",
            "as the rule",
            batch_norm_inference(cells, 32),
            "at inference mean, variance, scale and shift fold into one factor and one term per channel: "
            "2 per element and 5 per channel",
        ),
        Comparison(
            "clipped ReLU",
            "after conv 0",
            "1 per element",
            "as the rule",
            clipped_relu(cells),
            "min(max(x, 0), 24) is two comparisons",
        ),
        Comparison("ReLU", "as many elements", "1 per element", "as the rule", relu(cells), "no difference"),
        Comparison(
            "block-expand",
            "to a sequence of 333 vectors of 1312",
            "0",
            "as the rule",
            block_expand(),
            "it moves numbers and computes none",
        ),
        Comparison(
            "fully connected",
            "projection of recurrent layer 0: 1312 to 2048, no bias",
            "(2 I - 1) J per vector, J more with a bias",
            "as the rule",
            fully_connected(STEPS, 1312, 2048, bias=False),
            "no difference",
        ),
        Comparison(
            "simple recurrence",
            "one direction of 2048",
            "a fully connected layer with bias per time step",
            "as the rule",
            clipped_recurrence(1, STEPS, 2048),
            "the first step has no product; adding the product to the input is one more addition and the "
            "activation two comparisons per element",
        ),
        Comparison(
            "GRU",
            "one direction of 1024",
            "2 n per element of the result of each recurrent product",
            "counts no recurrent product at all",
            gated_recurrence(1, STEPS, 1024),
            "the first step has no product; gates, candidate, reset and interpolation are operations too",
        ),
        Comparison(
            "mixed layer, identity projection",
            "concatenation of both directions",
            "0; one addition per element of an identity projection with an offset",
            "adds the values of the input instead of counting its elements",
            identity_projection(STEPS * 4096, offset=False),
            "a concatenation moves numbers; the published network uses no offset",
        ),
        Comparison(
            "softmax",
            "333 rows of 29",
            "3 n - 1 per row",
            "as the rule",
            softmax(STEPS, 29),
            "the maximum that keeps it from overflowing is n - 1 comparisons and n subtractions more",
        ),
        Comparison(
            "CTC loss",
            "training only",
            "not counted",
            "not counted",
            OperationCount(),
            "counted in training (`ds2 flops --training`): the forward recursion over 2 L + 1 states",
        ),
    ]


def page() -> str:
    """The whole page."""
    lines = [
        "# The notebook's rules, its code, and the exact counts",
        "",
        "The question this project answers was first put in a notebook that carried a counter of its own. Its rules",
        "are kept as the convention `notebook`, to compare its figures; `standard` counts what is computed.",
        "Figures are for ten seconds (999 frames, 333 after the first convolution) and batch 1, from the formulas of",
        "`deepspeech2.flops.formulas`; this page is written by `python docs/generators/notebook.py`.",
        "",
        "| operator | example | rule | notebook's code | rule gives | exact count | of which | why they differ |",
        "|---|---|---|---|---:|---:|---|---|",
    ]
    for one in comparisons():
        kinds = ", ".join(f"{name} {amount:,}" for name, amount in one.exact.kinds.items() if amount) or "-"
        figures = f"{one.exact.notebook:,} | {one.exact.total:,}"
        lines.append(f"| {one.operator} | {one.example} | {one.rule} | {one.code} | {figures} | {kinds} | {one.why} |")
    lines += [
        "",
        "Where the rules know no operator (masks, log-softmax taken as the softmax it stands for, normalisation in",
        "training taken as its batch norm), the convention charges nothing or the named stand-in; it is defined for",
        "inference, and gradients count nothing in it.",
        "",
        "The whole model in every convention: `ds2 flops librispeech --frames 999 --convention notebook`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
