"""Compiled loops, their floating-point instructions counted by valgrind, agree with the formulas.

The C program is compiled without vectorising and without fused multiply-adds, so one instruction is one operation.
Skipped where gcc, objdump or valgrind is absent, unless DS2_REQUIRE_OPTIONAL_TOOLS=1.
"""

import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from deepspeech2.flops.formulas.convolutions import Convolution, Window, convolution
from deepspeech2.flops.formulas.products import matrix_product
from deepspeech2.flops.formulas.recurrences import clipped_recurrence

# Each kernel stands alone (noinline) and marks nothing: its own instructions are found by its symbol. Additions start
# at the first product, as the formulas have it, and a bias is one addition more.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#define KERNEL __attribute__((noinline)) void
static float values[1 << 16], weights[1 << 16], bias[1 << 10], results[1 << 16];
static float zero = 0.0f;

KERNEL matrix_product(int rows, int inner, int columns) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            float total = values[i * inner] * weights[j];
            for (int k = 1; k < inner; k++) total += values[i * inner + k] * weights[k * columns + j];
            results[i * columns + j] = total;
        }
}

/* Dense: a tap outside the input reads a zero. Skipping: it is left out. */
KERNEL dense_convolution(int channels, int outputs, int size, int kernel, int stride, int padding) {
    int length = (size + 2 * padding - kernel) / stride + 1;
    for (int o = 0; o < outputs; o++)
        for (int y = 0; y < length; y++)
            for (int x = 0; x < length; x++) {
                float total = 0.0f;
                int first = 1;
                for (int c = 0; c < channels; c++)
                    for (int i = 0; i < kernel; i++)
                        for (int j = 0; j < kernel; j++) {
                            int row = y * stride + i - padding, column = x * stride + j - padding;
                            int inside = row >= 0 && row < size && column >= 0 && column < size;
                            const float *value = inside ? &values[(c * size + row) * size + column] : &zero;
                            float product = *value * weights[((o * channels + c) * kernel + i) * kernel + j];
                            if (first) { total = product; first = 0; } else total += product;
                        }
                results[(o * length + y) * length + x] = total + bias[o];
            }
}

KERNEL skipping_convolution(int channels, int outputs, int size, int kernel, int stride, int padding) {
    int length = (size + 2 * padding - kernel) / stride + 1;
    for (int o = 0; o < outputs; o++)
        for (int y = 0; y < length; y++)
            for (int x = 0; x < length; x++) {
                float total = bias[o];
                for (int c = 0; c < channels; c++)
                    for (int i = 0; i < kernel; i++)
                        for (int j = 0; j < kernel; j++) {
                            int row = y * stride + i - padding, column = x * stride + j - padding;
                            if (row < 0 || row >= size || column < 0 || column >= size) continue;
                            total += values[(c * size + row) * size + column]
                                     * weights[((o * channels + c) * kernel + i) * kernel + j];
                        }
                results[(o * length + y) * length + x] = total;
            }
}

KERNEL recurrence(int batch, int steps, int size) {
    for (int n = 0; n < batch; n++)
        for (int t = 0; t < steps; t++)
            for (int j = 0; j < size; j++) {
                const float *before = &results[(n * steps + t - 1) * size];
                float total = values[(n * steps + t) * size + j] + bias[j];
                if (t > 0)
                    for (int k = 0; k < size; k++) total += before[k] * weights[k * size + j];
                results[(n * steps + t) * size + j] = total;
            }
}

int main(int argc, char **argv) {
    int n[6] = {0};
    for (int i = 2; i < argc; i++) n[i - 2] = atoi(argv[i]);
    for (int i = 0; i < 1 << 16; i++) { values[i] = (float)(i % 7) - 3; weights[i] = (float)(i % 5) - 2; }
    switch (argv[1][0]) {
        case 'm': matrix_product(n[0], n[1], n[2]); break;
        case 'd': dense_convolution(n[0], n[1], n[2], n[3], n[4], n[5]); break;
        case 's': skipping_convolution(n[0], n[1], n[2], n[3], n[4], n[5]); break;
        case 'r': recurrence(n[0], n[1], n[2]); break;
    }
    return results[0] == 12345.0f;
}
"""
FLAGS = ["-O1", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-ffp-contract=off", "-fno-inline", "-no-pie"]
KIND_OF = {"mulss": "multiply", "addss": "add", "fmul": "multiply", "fadd": "add"}


def reason_to_skip() -> str | None:
    missing = [tool for tool in ("gcc", "objdump", "valgrind") if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    return None if platform.machine() in ("x86_64", "aarch64") else f"knows no instructions of {platform.machine()}"


class Binary:
    """The compiled loops and, for each, the addresses of its multiplications and additions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "loops"
        (folder / "loops.c").write_text(SOURCE)
        subprocess.run(["gcc", *FLAGS, "-o", self.path, folder / "loops.c"], check=True)
        listing = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", self.path], check=True, capture_output=True, text=True
        )
        self.kinds: dict[tuple[str, int], str] = {}
        function = ""
        for line in listing.stdout.splitlines():
            if header := re.match(r"[0-9a-f]+ <(.+)>:", line):
                function = header[1]
            elif instruction := re.match(r"\s*([0-9a-f]+):\s+v?(\w+)", line):
                kind = KIND_OF.get(instruction[2].removeprefix("v"))
                if kind:
                    self.kinds[function, int(instruction[1], 16)] = kind

    def run(self, function: str, *sizes: int) -> Counter:
        """Multiplications and additions that one run of a loop executes."""
        report = self.folder / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={report}"]
        command += ["--compress-pos=no", "--compress-strings=no", str(self.path), function[0], *map(str, sizes)]
        environment = {**os.environ, "GLIBC_TUNABLES": ""}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        executed: Counter = Counter()
        calls = False
        for line in report.read_text().splitlines():
            if line.startswith("calls="):
                calls = True  # the next line is the inclusive cost of a call, not of an instruction
            elif cost := re.match(r"(0x[0-9a-f]+) \S+ (\d+)$", line):
                kind = None if calls else self.kinds.get((function, int(cost[1], 16)))
                if kind:
                    executed[kind] += int(cost[2])
                calls = False
        return executed


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> Binary:
    reason = reason_to_skip()
    if reason and os.environ.get("DS2_REQUIRE_OPTIONAL_TOOLS") == "1":
        pytest.fail(f"DS2_REQUIRE_OPTIONAL_TOOLS=1, and the callgrind proof {reason}")
    if reason:
        pytest.skip(f"the callgrind proof {reason}")
    return Binary(tmp_path_factory.mktemp("callgrind"))


@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (7, 13, 5)])
def test_matrix_product(binary, rows, inner, columns) -> None:
    formula = matrix_product(rows, inner, columns)
    executed = binary.run("matrix_product", rows, inner, columns)
    assert executed["multiply"] == formula.multiply == formula.macs
    assert executed["add"] == formula.add


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "kernel", "stride", "padding"), [(1, 2, 9, 5, 2, 2), (3, 2, 8, 3, 3, 1)]
)
def test_convolution_with_and_without_its_padding(binary, channels, outputs, size, kernel, stride, padding) -> None:
    axis = Window(size, kernel, stride, padding, padding)
    formula = convolution(Convolution(1, channels, outputs, [axis, axis]), bias=True)
    sizes = (channels, outputs, size, kernel, stride, padding)
    dense = binary.run("dense_convolution", *sizes)
    assert dense["multiply"] == formula.multiply == formula.macs
    assert dense["add"] == formula.add
    skipping = binary.run("skipping_convolution", *sizes)
    assert formula.padding_macs > 0
    assert skipping["multiply"] == formula.macs - formula.padding_macs
    assert skipping["add"] == formula.macs - formula.padding_macs


@pytest.mark.parametrize(("batch", "steps", "size"), [(1, 1, 4), (2, 6, 7)])
def test_simple_recurrence(binary, batch, steps, size) -> None:
    """Without its clipping, whose comparisons are other instructions."""
    formula = clipped_recurrence(batch, batch * steps, size)
    executed = binary.run("recurrence", batch, steps, size)
    assert executed["multiply"] == formula.multiply == formula.macs
    assert executed["add"] == formula.add
