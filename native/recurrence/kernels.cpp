// Compiled once for each instruction set: RECURRENCE_TARGET is its namespace, RECURRENCE_WIDTH the floats of a vector.
#include "kernels.h"

#if RECURRENCE_WIDTH > 4
#include <immintrin.h>
#endif

namespace recurrence {
namespace RECURRENCE_TARGET {
namespace {

constexpr int W = RECURRENCE_WIDTH;
// Arrays in memory are aligned to single numbers only.
using Vector = float __attribute__((vector_size(4 * W)));
using Loose = float __attribute__((vector_size(4 * W), aligned(4), may_alias));
using Unsigned = uint32_t __attribute__((vector_size(4 * W)));

inline Vector load(const float* from) { return *reinterpret_cast<const Loose*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<Loose*>(to) = value; }
inline Vector widen(const float* from) { return load(from); }
// A bfloat16 is the upper half of a float32.
#if RECURRENCE_WIDTH == 16
inline Vector widen(const uint16_t* from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return reinterpret_cast<Vector>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline Vector widen(const int8_t* from) {
  return reinterpret_cast<Vector>(
      _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))));
}
#elif RECURRENCE_WIDTH == 8
inline Vector widen(const uint16_t* from) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return reinterpret_cast<Vector>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
inline Vector widen(const int8_t* from) {
  return reinterpret_cast<Vector>(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)))));
}
#else
inline Vector widen(const uint16_t* from) {
  const Unsigned bits = {from[0], from[1], from[2], from[3]};
  return reinterpret_cast<Vector>(bits << 16);
}
inline Vector widen(const int8_t* from) {
  return Vector{static_cast<float>(from[0]), static_cast<float>(from[1]), static_cast<float>(from[2]),
                static_cast<float>(from[3])};
}
#endif

// Asks for memory that will be read soon; an address past the end does no harm.
template <int bytes>
inline void fetch(const void* from) {
  const char* line = static_cast<const char*>(from);
#pragma GCC unroll 10
  for (int at = 0; at < bytes; at += 64) __builtin_prefetch(line + at);
}

// The row of the panel that a state's n-th value will be multiplied with.
inline int row_of(const int32_t* indices, int count, int n) { return count < 0 ? n : indices[n]; }

template <int V, class Weight>
inline void multiply_row(const Weight* row, float value, Vector* sum) {
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] += value * widen(row + v * W);
}

template <int V, bool distant>
inline void accumulate(const float* block, const float* values, const int32_t* indices, int count, bool fresh,
                       float* sums, const char* ahead) {
  Vector sum[V];
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] = fresh ? Vector{} : load(sums + v * W);
  const int kept = count < 0 ? -count : count;
  for (int i = 0; i < kept; ++i) {
    if (distant) __builtin_prefetch(ahead + i * 64);
    multiply_row<V>(block + row_of(indices, count, i) * (V * W), values[i], sum);
  }
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) store(sums + v * W, sum[v]);
}

// Two rows without a gap and some of a panel's vectors: every weight that is loaded serves twice.
template <int first, int V, int panel, bool distant>
inline void accumulate_pair(const float* block, const float* values, int64_t stride, int count, bool fresh,
                            float* sums, int64_t sums_stride, const char* ahead) {
  if constexpr (V > 0) {
    Vector one[V], two[V];
#pragma GCC unroll 10
    for (int v = 0; v < V; ++v) {
      one[v] = fresh ? Vector{} : load(sums + (first + v) * W);
      two[v] = fresh ? Vector{} : load(sums + sums_stride + (first + v) * W);
    }
    for (int i = 0; i < count; ++i) {
      if (distant) __builtin_prefetch(ahead + i * 64);
      const float* row = block + (i * panel + first) * W;
      const float x = values[i], y = values[stride + i];
#pragma GCC unroll 10
      for (int v = 0; v < V; ++v) {
        const Vector weight = load(row + v * W);
        one[v] += x * weight;
        two[v] += y * weight;
      }
    }
#pragma GCC unroll 10
    for (int v = 0; v < V; ++v) {
      store(sums + (first + v) * W, one[v]);
      store(sums + sums_stride + (first + v) * W, two[v]);
    }
  }
}

// One row times the whole panel, which is read once and from far away: each read is announced a few rows before.
template <int V, class Weight>
void stream_row(const Product& p, int row) {
  constexpr int columns = V * W;
  constexpr int distance = 2560 / (columns * static_cast<int>(sizeof(Weight)));
  const Weight* panel = static_cast<const Weight*>(p.weights);
  const float* values = p.values + int64_t{row} * p.stride;
  const int32_t* indices = p.indices + int64_t{row} * p.stride;
  const int32_t* counts = p.counts + int64_t{row} * p.blocks;
  float* sums = p.sums + int64_t{row} * p.sums_stride;
  Vector sum[V];
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) sum[v] = p.add ? load(sums + v * W) : Vector{};
  for (int b = 0; b < p.blocks; ++b) {
    const int start = p.starts[b], end = p.starts[b + 1];
    const Weight *block = panel + int64_t{start} * columns, *next_block = panel + int64_t{end} * columns;
    const int count = counts[b], kept = count < 0 ? -count : count;
    const int next = b + 1 < p.blocks ? counts[b + 1] : 0, next_kept = next < 0 ? -next : next;
    const int last = kept > distance ? kept - distance : 0;
    for (int i = 0; i < kept; ++i) {
      if (i < last)
        fetch<columns * sizeof(Weight)>(block + row_of(indices + start, count, i + distance) * columns);
      else if (i - last < next_kept)
        fetch<columns * sizeof(Weight)>(next_block + row_of(indices + end, next, i - last) * columns);
      multiply_row<V>(block + row_of(indices + start, count, i) * columns, values[start + i], sum);
    }
  }
#pragma GCC unroll 10
  for (int v = 0; v < V; ++v) store(sums + v * W, sum[v]);
}

// All rows times one block. `ahead` is the block after this one, of `lines` cache lines: every row asks for its share.
template <int V, bool distant>
void rows_of_block(const Product& p, const float* block, int b, const char* ahead, int lines) {
  const int share = (lines + p.rows - 1) / p.rows, columns = p.starts[b + 1] - p.starts[b];
  const bool fresh = b == 0 && !p.add;
  for (int row = 0; row < p.rows; ++row) {
    const int64_t at = int64_t{row} * p.stride + p.starts[b];
    const int count = p.counts[row * p.blocks + b];
    float* sums = p.sums + int64_t{row} * p.sums_stride;
    const char* part = ahead + int64_t{row} * share * 64;
    if (count == -columns && row + 1 < p.rows && p.counts[(row + 1) * p.blocks + b] == -columns) {
      constexpr int half = V / 2;
      accumulate_pair<0, half, V, distant>(block, p.values + at, p.stride, columns, fresh, sums, p.sums_stride, part);
      accumulate_pair<half, V - half, V, distant>(block, p.values + at, p.stride, columns, fresh, sums, p.sums_stride,
                                                  part + int64_t{share} * 64);
      ++row;
    } else {
      accumulate<V, distant>(block, p.values + at, p.indices + at, count, fresh, sums, part);
    }
  }
}

template <int V, class Weight>
void multiply_panel(const Product& p) {
  constexpr int columns = V * W;
  constexpr bool wide = sizeof(Weight) == sizeof(float);
  if (p.rows == 1 ? p.distant || !wide : p.rows == 2 && !wide) {
    for (int row = 0; row < p.rows; ++row) stream_row<V, Weight>(p, row);
  } else {
    for (int b = 0; b < p.blocks; ++b) {
      const Weight* weights = static_cast<const Weight*>(p.weights) + int64_t{p.starts[b]} * columns;
      const int size = (p.starts[b + 1] - p.starts[b]) * columns;
      const float* block = p.widened;
      if constexpr (wide)
        block = weights;
      else
        for (int i = 0; i < size; i += W) store(p.widened + i, widen(weights + i));
      const char* ahead = reinterpret_cast<const char*>(weights + size);
      const int lines = size * static_cast<int>(sizeof(Weight)) / 64;
      if (p.distant)
        rows_of_block<V, true>(p, block, b, ahead, lines);
      else
        rows_of_block<V, false>(p, block, b, ahead, lines);
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

void clipped(const float* __restrict sums, const float* __restrict x, const float* __restrict bias, float limit, int count, float* __restrict state) {
  for (int i = 0; i < count; ++i) {
    const float total = sums[i] + (x[i] + bias[i]);
    const float low = total < 0.0f ? 0.0f : total;  // written so that a NaN stays one
    state[i] = low > limit ? limit : low;
  }
}

void gates(const float* __restrict sums, const float* __restrict x, const float* __restrict bias, int count, float* __restrict gate) {
  for (int i = 0; i < count; ++i) gate[i] = sigmoid(sums[i] + (x[i] + bias[i]));
}

void reset_state(const float* __restrict reset, const float* __restrict h, int count, float* __restrict product) {
  for (int i = 0; i < count; ++i) product[i] = reset[i] * h[i];
}

void gated(const float* __restrict sums, const float* __restrict x, const float* __restrict bias, const float* __restrict update, const float* __restrict h, int count,
           float* __restrict candidate, float* __restrict state) {
  for (int i = 0; i < count; ++i) {
    const float total = sums[i] + (x[i] + bias[i]);
    const float c = total < 0.0f ? 0.0f : total;
    candidate[i] = c;
    state[i] = h[i] * (1.0f - update[i]) + update[i] * c;
  }
}

void clipped_error(const float* __restrict sums, const float* __restrict grad, const float* __restrict state, float limit, int count, float* __restrict error) {
  for (int i = 0; i < count; ++i) error[i] = state[i] > 0.0f && state[i] < limit ? sums[i] + grad[i] : 0.0f;
}

void gated_error(const float* __restrict grad, const float* __restrict update, const float* __restrict candidate, const float* __restrict h, int count,
                 float* __restrict carried, float* __restrict update_error, float* __restrict candidate_error) {
  for (int i = 0; i < count; ++i) {
    const float error = carried[i] + grad[i], z = update[i];
    update_error[i] = error * (candidate[i] - h[i]) * (z * (1.0f - z));
    candidate_error[i] = candidate[i] > 0.0f ? error * z : 0.0f;
    carried[i] = error * (1.0f - z);
  }
}

void reset_error(const float* __restrict sums, const float* __restrict reset, const float* __restrict h, int count, float* __restrict carried,
                 float* __restrict error) {
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
