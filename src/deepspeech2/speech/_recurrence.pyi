"""The native recurrences; see native/recurrence/bindings.cpp."""

# Rows, padded time, size of a direction, address of the lengths, reverse, threads.
_Batch = tuple[int, int, int, int, bool, int]
# Address, format (float32, bfloat16 or int8), address of the scales or 0, strides of rows and columns.
_Weight = tuple[int, str, int, int, int]
# Batch, weights of update gate, reset gate and candidate, addresses of bias, x, states, and gates or 0.
_Forward = tuple[_Batch, tuple[_Weight, _Weight, _Weight], int, int, int, int]

def simd() -> str: ...
def simple_forward(batch: _Batch, weight: _Weight, bias: int, limit: float, x: int, states: int) -> None: ...
def simple_backward(batch: _Batch, transposed: _Weight, limit: float, states: int, grad: int, errors: int) -> None: ...
def gated_forward(passes: list[_Forward]) -> None: ...
def gated_backward(
    batch: _Batch,
    transposed: tuple[_Weight, _Weight, _Weight],
    states: int,
    gates: int,
    grad: int,
    out: tuple[int, int, int],
) -> None: ...
