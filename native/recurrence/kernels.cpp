// Compiled once for each instruction set: RECURRENCE_TARGET is its namespace, RECURRENCE_WIDTH the floats of a vector.
#include "kernels.h"

namespace recurrence {
namespace RECURRENCE_TARGET {
namespace {

constexpr int W = RECURRENCE_WIDTH;
// Arrays in memory are aligned to single numbers only.
using Vector = float __attribute__((vector_size(4 * W)));
using Loose = float __attribute__((vector_size(4 * W), aligned(4), may_alias));
using Halves = uint16_t __attribute__((vector_size(2 * W), aligned(2), may_alias));
using Bytes = int8_t __attribute__((vector_size(W), aligned(1), may_alias));
using Integers = int32_t __attribute__((vector_size(4 * W)));
using Unsigned = uint32_t __attribute__((vector_size(4 * W)));

inline Vector load(const float* from) { return *reinterpret_cast<const Loose*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Loose*>(to) = value; }
inline Vector widen(const float* from) { return load(from); }
// A bfloat16 is the upper half of a float32.
inline Vector widen(const uint16_t* from) {
  const auto bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(from), Unsigned) << 16;
  return reinterpret_cast<Vector>(bits);
}
inline Vector widen(const int8_t* from) {
  const auto whole = __builtin_convertvector(*reinterpret_cast<const Bytes*>(from), Integers);
  return __builtin_convertvector(whole, Vector);
}

template <int V, class Weight>
inline void accumulate(const Weight* block, const float* values, const int32_t* indices, int count, bool fresh,
                       float* sums) {
  Vector sum[V];
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] = fresh ? Vector{} : load(sums + v * W);
  if (count < 0) {
    for (int i = 0; i < -count; ++i) {
      const Weight* row = block + i * (V * W);
#pragma GCC unroll 10
      for (int v = 0; v < V; ++v) sum[v] += values[i] * widen(row + v * W);
    }
  } else {
    for (int i = 0; i < count; ++i) {
      const Weight* row = block + indices[i] * (V * W);
#pragma GCC unroll 10
      for (int v = 0; v < V; ++v) sum[v] += values[i] * widen(row + v * W);
    }
  }
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) store(sums + v * W, sum[v]);
}

template <int V, class Weight>
void rows_of_block(const Product& p, const Weight* block, int b) {
  for (int row = 0; row < p.rows; ++row) {
    const int64_t at = int64_t{row} * p.stride + p.starts[b];
    accumulate<V>(block, p.values + at, p.indices + at, p.counts[row * p.blocks + b], b == 0 && !p.add,
                  p.sums + int64_t{row} * p.sums_stride);
  }
}

template <int V, class Weight>
void multiply_panel(const Product& p) {
  constexpr int columns = V * W;
  for (int b = 0; b < p.blocks; ++b) {
    const Weight* block = static_cast<const Weight*>(p.weights) + int64_t{p.starts[b]} * columns;
    if (sizeof(Weight) == sizeof(float) || p.rows < 3) {
      rows_of_block<V>(p, block, b);
    } else {
      const int size = (p.starts[b + 1] - p.starts[b]) * columns;
      for (int i = 0; i < size; i += W) store(p.widened + i, widen(block + i));
      rows_of_block<V>(p, static_cast<const float*>(p.widened), b);
    }
  }
  if (!p.scales) return;
  for (int row = 0; row < p.rows; ++row) {
    float* sums = p.sums + int64_t{row} * p.sums_stride;
    for (int v = 0; v < V; ++v) store(sums + v * W, load(sums + v * W) * load(p.scales + v * W));
  }
}

template <int V>
void multiply_vectors(const Product& p) {
  if constexpr (V > 0) {
    if (p.vectors != V) return multiply_vectors<V - 1>(p);
    if (p.format == Format::float32) return multiply_panel<V, float>(p);
    if (p.format == Format::bfloat16) return multiply_panel<V, uint16_t>(p);
    multiply_panel<V, int8_t>(p);
  }
}

void multiply(const Product& p) { multiply_vectors<kPanelVectors>(p); }

int compress(const float* in, int count, float* values, int32_t* indices) {
  int zeros = 0;
  for (int i = 0; i < count; ++i) zeros += in[i] == 0.0f;
  if (zeros * 8 <= count) {  // cheaper to multiply by the zeros than to skip them
    for (int i = 0; i < count; ++i) values[i] = in[i];
    return -count;
  }
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    values[kept] = in[i];
    indices[kept] = i;
    kept += in[i] != 0.0f;
  }
  return kept;
}

// exp(x) for x <= 0: x = n ln 2 + r, a polynomial for exp(r); relative error below 2e-7, zero below -87.
inline float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const float n = x * 1.44269504f + 12582912.0f;  // rounds: 1.5 * 2^23 leaves no bits for a fraction
  const float whole = n - 12582912.0f;
  float r = x - whole * 0.693359375f;
  r = r - whole * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  uint32_t bits;
  __builtin_memcpy(&bits, &n, 4);
  bits = (bits + 127u) << 23;  // 2^n: the magic number's own low bits are zero
  float power;
  __builtin_memcpy(&power, &bits, 4);
  return p * power;
}

inline float sigmoid(float x) {
  const float e = exp_negative(-__builtin_fabsf(x));
  return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

void clipped(const float* sums, const float* x, const float* bias, float limit, int count, float* state) {
  for (int i = 0; i < count; ++i) {
    const float total = sums[i] + (x[i] + bias[i]);
    const float low = total < 0.0f ? 0.0f : total;  // written so that a NaN stays one
    state[i] = low > limit ? limit : low;
  }
}

void gates(const float* sums, const float* x, const float* bias, int count, float* gate) {
  for (int i = 0; i < count; ++i) gate[i] = sigmoid(sums[i] + (x[i] + bias[i]));
}

void reset_state(const float* reset, const float* h, int count, float* product) {
  for (int i = 0; i < count; ++i) product[i] = reset[i] * h[i];
}

void gated(const float* sums, const float* x, const float* bias, const float* update, const float* h, int count,
           float* candidate, float* state) {
  for (int i = 0; i < count; ++i) {
    const float total = sums[i] + (x[i] + bias[i]);
    const float c = total < 0.0f ? 0.0f : total;
    candidate[i] = c;
    state[i] = h[i] * (1.0f - update[i]) + update[i] * c;
  }
}

void clipped_error(const float* sums, const float* grad, const float* state, float limit, int count, float* error) {
  for (int i = 0; i < count; ++i) error[i] = state[i] > 0.0f && state[i] < limit ? sums[i] + grad[i] : 0.0f;
}

void gated_error(const float* grad, const float* update, const float* candidate, const float* h, int count,
                 float* carried, float* update_error, float* candidate_error) {
  for (int i = 0; i < count; ++i) {
    const float error = carried[i] + grad[i], z = update[i];
    update_error[i] = error * (candidate[i] - h[i]) * (z * (1.0f - z));
    candidate_error[i] = candidate[i] > 0.0f ? error * z : 0.0f;
    carried[i] = error * (1.0f - z);
  }
}

void reset_error(const float* sums, const float* reset, const float* h, int count, float* carried,
                 float* error) {
  for (int i = 0; i < count; ++i) {
    const float r = reset[i];
    error[i] = sums[i] * h[i] * (r * (1.0f - r));
    carried[i] += sums[i] * r;
  }
}

}  // namespace

extern const Kernels table;
const Kernels table = {RECURRENCE_NAME, W, multiply, compress, clipped, gates, reset_state, gated, clipped_error,
                       gated_error, reset_error};

}  // namespace RECURRENCE_TARGET
}  // namespace recurrence
