"""Fourier transforms: 2.5 N log2 N for a real one, 5 N log2 N for a complex one; a model, marked as such."""

from __future__ import annotations

import torch

from benchmarks.flops.cases.case import Program, case


@case(kinds={"other": 3 * 160}, modelled=3 * 160)
def real_fft() -> Program:
    """3 transforms of 16: 2.5 * 16 * 4 each."""
    return torch.fft.rfft, (torch.randn(3, 16),)


@case(kinds={"other": 320}, modelled=320)
def complex_fft() -> Program:
    """5 * 16 * 4."""
    return torch.fft.fft, (torch.randn(16, dtype=torch.complex64),)


@case(kinds={"multiply": 11 * 16, "other": 11 * 160}, modelled=11 * 160)
def stft() -> Program:
    """96 samples, 16 every 8: 11 frames; each is windowed (16 products) and transformed."""

    def program(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, 16, 8, window=window, center=False, return_complex=True)

    return program, (torch.randn(96), torch.hann_window(16))


@case(kinds={"multiply": 13 * 16 + 2 * 13 * 9, "add": 13 * 9, "other": 13 * 160}, modelled=13 * 160)
def power_spectrogram() -> Program:
    """Centred: 13 frames; two squares and a sum for each of 9 bins."""

    def program(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
        spectrum = torch.view_as_real(torch.stft(x, 16, 8, window=window, return_complex=True))
        return spectrum[..., 0].square() + spectrum[..., 1].square()

    return program, (torch.randn(96), torch.hann_window(16))


@case(
    kinds={
        "multiply": 17 * 16 * 2 + 16,
        "add": 17 * 16 + 17 * 16,
        "divide": 64,
        "compare": 64,
        "other": 17 * 160 + 64,
    },
    modelled=17 * 160,
)
def inverse_stft() -> Program:
    """17 frames of 16: an inverse transform (2.5 * 16 * 4 = 160) and its scale, times the window, added where they
    overlap; the squared window added likewise; 64 quotients, and the smallest of 64 absolute values compared with zero.
    """
    window = torch.hann_window(16)

    def program(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.istft(spectrum, 16, 4, window=window, length=64)

    return program, (torch.stft(torch.randn(1, 64), 16, 4, window=window, return_complex=True),)
