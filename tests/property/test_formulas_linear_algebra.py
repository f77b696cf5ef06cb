"""Factorisations and quantised products: elimination on counting scalars, models at the figures they state."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2 import count
from deepspeech2.flops.formulas.linear_algebra import (
    cholesky,
    determinant,
    eigenvalues,
    lu,
    qr,
    singular_values,
    solution,
    symmetric_eigenvalues,
    triangular_solution,
)
from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.formulas.quantised import (
    descaled,
    dynamic_linear,
    dynamic_quantisation,
    quantised_product,
    requantised,
)

deterministic = settings(max_examples=15, deadline=None, derandomize=True)
sizes = st.integers(1, 6)


def dominant(size):
    """A positive definite matrix that elimination need not pivot."""
    x = torch.from_numpy(np.random.default_rng(size).normal(size=(size, size)))
    return x @ x.T + size * size * 4 * torch.eye(size, dtype=torch.float64)


def eliminate(scalars, a):
    a = a.copy()
    size = len(a)
    for k in range(size):
        scalars.largest([a[i, k] for i in range(k, size)])
        for i in range(k + 1, size):
            a[i, k] = a[i, k] / a[k, k]
            for j in range(k + 1, size):
                a[i, j] = a[i, j] - a[i, k] * a[k, j]
    return a


def substitute(scalars, lower, right):
    x = right.copy()
    for column in range(right.shape[1]):
        for i in range(len(lower)):
            for j in range(i):
                x[i, column] = x[i, column] - lower[i, j] * x[j, column]
            x[i, column] = x[i, column] / lower[i, i]
    return x


def factor(scalars, a):
    low = a.copy()
    size = len(a)
    for k in range(size):
        low[k, k] = math.sqrt(low[k, k])
        for i in range(k + 1, size):
            low[i, k] = low[i, k] / low[k, k]
            low[k, i] = scalars.constant(0)
        for j in range(k + 1, size):
            for i in range(j, size):
                low[i, j] = low[i, j] - low[i, k] * low[j, k]
    return low


@deterministic
@given(size=sizes, columns=sizes)
def test_elimination_and_substitution(proves, size, columns) -> None:
    a = dominant(size)
    proves(lu(size), eliminate, a, equals=torch.linalg.lu_factor(a)[0])
    proves(cholesky(size), factor, a, equals=torch.linalg.cholesky(a))
    lower, right = a.tril(), a[:, :1].expand(size, columns).contiguous() + 1
    x = torch.linalg.solve_triangular(lower, right, upper=False)
    proves(triangular_solution(size, columns), substitute, lower, right, equals=x)


def product_of_pivots(scalars, a, logarithm=False):
    pivots = np.diag(eliminate(scalars, a))
    if logarithm:
        return scalars.add_up([math.log(pivot) for pivot in pivots])
    result = pivots[0]
    for pivot in pivots[1:]:
        result = result * pivot
    return result


@deterministic
@given(size=sizes)
def test_determinants(proves, size) -> None:
    a = dominant(size)
    proves(determinant(size, logarithm=False), product_of_pivots, a, equals=torch.linalg.det(a))
    slog = torch.linalg.slogdet(a)[1]
    proves(determinant(size, logarithm=True), product_of_pivots, a, equals=slog, logarithm=True)
    assert solution(size, 3) == lu(size) + triangular_solution(size, 3) + triangular_solution(size, 3)


@pytest.mark.parametrize(
    ("count", "operations"),
    [
        (qr(12, 6), 2 * 36 * 10),  # 2 n^2 (m - n / 3)
        (qr(6, 12), 2 * 36 * 10),
        (symmetric_eigenvalues(6, vectors=True), 9 * 216),
        (symmetric_eigenvalues(6, vectors=False), 288),  # 4 n^3 / 3
        (eigenvalues(6, vectors=True), 25 * 216),
        (eigenvalues(6, vectors=False), 10 * 216),
        (singular_values(12, 6, vectors=True), 6 * 12 * 36 + 20 * 216),
        (singular_values(6, 12, vectors=False), 4 * 12 * 36 - 288),  # 4 m n^2 - 4 n^3 / 3
    ],
)
def test_models_are_the_figures_they_cite_and_are_marked(count, operations) -> None:
    assert count.total == operations
    assert count.modelled == operations


def quantise(scalars, x):
    """The zero point's and the elements' roundings and clamps, with the loops' own comparisons."""
    low, high = x[0], x[0]
    for value in x[1:]:
        low = value if value < low else low
        high = value if value > high else high
    scale = (high - low) / scalars.constant(255)
    inverse = scalars.constant(1) / scale
    zero = low / scale
    shifted = [value * inverse + zero for value in x]
    for value in shifted:
        _ = value < scalars.constant(0)
        _ = value > scalars.constant(255)
    return shifted


@deterministic
@given(elements=st.integers(2, 9))
def test_dynamic_quantisation(scalar_run, elements) -> None:
    counted, _ = scalar_run(quantise, np.arange(elements) + 0.5)
    formula = dynamic_quantisation(elements)
    # Rounding, once for the zero point and once per element, is not an operation of the counting scalars.
    assert formula.other == 1 + elements
    assert {**formula.kinds, "other": 0} == counted.kinds


@deterministic
@given(samples=sizes, inputs=sizes, outputs=sizes)
def test_quantised_product_counts_integers_apart(samples, inputs, outputs) -> None:
    integer = sum(1 for _ in range(outputs))  # the sum of each weight row times the zero point
    for _ in range(samples * outputs):
        integer += inputs + (inputs - 1) + 1  # products, their sum, less the zero point's share
    count = quantised_product(samples, inputs, outputs, bias=True)
    assert count.integer == integer
    assert count.macs == samples * inputs * outputs
    assert (count.multiply, count.add) == (1 + samples * outputs, samples * outputs)
    assert dynamic_linear(samples, inputs, outputs, bias=True) == count + dynamic_quantisation(samples * inputs)


class CountedInteger:
    """An integer that counts what is done to it."""

    operations = 0

    def __init__(self, value):
        self.value = value

    def _made(self, value):
        CountedInteger.operations += 1
        return CountedInteger(value)

    def __mul__(self, other):
        return self._made(self.value * other.value)

    def __add__(self, other):
        return self._made(self.value + other.value)

    def __sub__(self, other):
        return self._made(self.value - other.value)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@deterministic
@given(samples=sizes, inputs=sizes, outputs=sizes, bias=st.booleans())
def test_a_layer_quantised_on_both_sides(samples, inputs, outputs, bias) -> None:
    """The layer by loops over counted integers; its result, rounded, is that of torch's kernel."""
    random = np.random.default_rng(samples + 10 * inputs + 100 * outputs)
    x, w = random.integers(0, 20, (samples, inputs)), random.integers(-9, 9, (outputs, inputs))
    b = random.integers(-5, 5, outputs)
    zero, zero_out, ratio = 3, 5, 0.25
    CountedInteger.operations = floats = 0
    sums = [int(row.sum()) for row in w]
    shares = [CountedInteger(zero) * CountedInteger(total) for total in sums]
    result = np.zeros((samples, outputs), dtype=int)
    for i in range(samples):
        for j in range(outputs):
            total = CountedInteger(int(x[i, 0])) * CountedInteger(int(w[j, 0]))
            for k in range(1, inputs):
                total = total + CountedInteger(int(x[i, k])) * CountedInteger(int(w[j, k]))
            total = total - shares[j]
            if bias:
                total = total + CountedInteger(int(b[j]))
            scaled, floats = round(total.value * ratio), floats + 2
            shifted = CountedInteger(scaled) + CountedInteger(zero_out)
            result[i, j], CountedInteger.operations = min(max(shifted.value, 0), 255), CountedInteger.operations + 2
    count = requantised(dot_products(samples * outputs, inputs), samples * outputs, outputs, bias=bias)
    assert count.integer == CountedInteger.operations
    assert count.multiply + count.other == count.total == floats
    assert count.macs == samples * inputs * outputs
    # torch: scales 0.5, 0.5 and 1 make the same ratio of a quarter
    quantised = torch._make_per_tensor_quantized_tensor(torch.tensor(x, dtype=torch.uint8), 0.5, zero)
    weight = torch._make_per_tensor_quantized_tensor(torch.tensor(w, dtype=torch.int8), 0.5, 0)
    packed = torch.ops.quantized.linear_prepack(weight, torch.tensor(b * 0.25 if bias else b * 0.0).float())
    assert torch.ops.quantized.linear(quantised, packed, 1.0, zero_out).int_repr().tolist() == result.tolist()


@deterministic
@given(samples=sizes, inputs=sizes, outputs=sizes)
def test_a_product_descaled_is_the_dynamic_layer_without_its_inputs(samples, inputs, outputs) -> None:
    product = dot_products(samples * outputs, inputs)
    assert descaled(product, samples * outputs, outputs, bias=True) == quantised_product(
        samples, inputs, outputs, bias=True
    )


class ComplexScalar:
    """A complex number of two counting scalars: products by four, quotients by the conjugate, pivots by |a| + |b|."""

    def __init__(self, real, imaginary):
        self.real, self.imaginary = real, imaginary

    def __mul__(self, other):
        return ComplexScalar(
            self.real * other.real - self.imaginary * other.imaginary,
            self.real * other.imaginary + self.imaginary * other.real,
        )

    def __sub__(self, other):
        return ComplexScalar(self.real - other.real, self.imaginary - other.imaginary)

    def __truediv__(self, other):
        top = self * ComplexScalar(other.real, other.imaginary)
        size = other.real * other.real + other.imaginary * other.imaginary
        return ComplexScalar(top.real / size, top.imaginary / size)

    def __gt__(self, other):
        return self.real + self.imaginary > other.real + other.imaginary


@deterministic
@given(size=sizes, columns=sizes)
def test_elimination_of_complex_numbers(scalar_run, size, columns) -> None:
    def twice(scalars, real):
        a = np.empty((size, size), dtype=object)
        for index, value in np.ndenumerate(real):
            a[index] = ComplexScalar(value, scalars.constant(0.25))
        eliminate(scalars, a)

    def solved(scalars, real):
        a = np.empty((size, max(size, columns)), dtype=object)
        for index in np.ndindex(a.shape):
            a[index] = ComplexScalar(real[index[0], index[1] % size], scalars.constant(0.25))
        substitute(scalars, a[:, :size], a[:, :columns])

    a = dominant(size)
    z = torch.empty(size, size, dtype=torch.complex64)
    for program, arguments, algorithm in [
        (torch.linalg.lu_factor, (z,), twice),
        (
            lambda a, b: torch.linalg.solve_triangular(a, b, upper=False),
            (z, torch.empty(size, columns, dtype=torch.complex64)),
            solved,
        ),
    ]:
        counted, _ = scalar_run(algorithm, a.numpy())
        found = count(program, arguments, strict=True)
        # A pivot's size is summed once for each side of its comparison by the loops, once by the count.
        sums = found.kinds["compare"]
        assert {**found.kinds, "other": 0, "add": found.kinds["add"] + sums} == counted.kinds
        assert found.modelled == found.flops


@pytest.mark.parametrize(
    ("function", "each"),
    [
        # t = sqrt((|z| + |a|) / 2) with |z| = sqrt(a a + b b), then b / (2 t), placed by the sign of a
        (torch.sqrt, {"multiply": 4, "add": 2, "sqrt": 2, "divide": 1, "other": 1, "compare": 1}),
        # sin a cosh b, cos a sinh b
        (torch.sin, {"multiply": 2, "other": 4}),
        # -z (2), exp (1, two products by cosine and sine), + 1, conjugate (1, and a sign) over the square (2 + 1)
        (torch.sigmoid, {"multiply": 4, "add": 5, "divide": 2, "exp": 1, "other": 2}),
    ],
)
def test_functions_of_complex_numbers(function, each) -> None:
    tally = count(function, torch.empty(7, dtype=torch.complex64), strict=True)
    assert {kind: amount for kind, amount in tally.kinds.items() if amount} == {k: 7 * n for k, n in each.items()}


def test_a_variance_of_complex_numbers_is_that_of_both_parts() -> None:
    z, x = torch.empty(9, dtype=torch.complex64), torch.empty(9)
    real, found = count(torch.var, x).kinds, count(torch.var, z, strict=True).kinds
    assert found == {kind: 2 * amount + (kind == "add") for kind, amount in real.items()}
