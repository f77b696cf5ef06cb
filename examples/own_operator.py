"""An operator of one's own: unknown at first, then counted by its formula. `python examples/own_operator.py`."""

import torch

from deepspeech2 import OperationCount, count, register_formula


@torch.library.custom_op("example::scale_and_shift", mutates_args=())
def scale_and_shift(x: torch.Tensor) -> torch.Tensor:
    """2 x + 1, in some kernel that nobody else knows."""
    return x * 2 + 1


@scale_and_shift.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Model(torch.nn.Module):
    """A layer, and the operator behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both."""
        return scale_and_shift(self.layer(x))


def main() -> None:
    """Count without and with the formula."""
    tally = count(Model(), torch.empty(2, 4))
    (unknown,) = tally.unknown
    print(f">= {tally.flops} operations; not counted: {unknown.operator} at {unknown.sites[0]}")

    @register_formula("example::scale_and_shift")
    def _formula(call):  # type: ignore[no-untyped-def]
        elements = call["x"].elements
        return OperationCount(multiply=elements, add=elements)

    tally = count(Model(), torch.empty(2, 4), strict=True)
    print(f"{tally.flops} operations, complete: {tally.complete}")


if __name__ == "__main__":
    main()
