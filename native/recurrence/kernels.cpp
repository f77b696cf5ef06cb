// All but the products (products.cpp). Compiled once for each instruction set (vectors.h).
#include "kernels.h"
#include "vectors.h"

namespace recurrence {
namespace RECURRENCE_TARGET {

void multiply(const Product& p);

namespace {

int compress(const float* in, int count, float* values, uint8_t* indices) {
  int zeros = 0;
  for (int i = 0; i < count; ++i) zeros += in[i] == 0.0f;
  if (zeros * 8 <= count) {  // cheaper to multiply by the zeros than to skip them
    for (int i = 0; i < count; ++i) values[i] = in[i];
    return -count;
  }
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    values[kept] = in[i];
    indices[kept] = static_cast<uint8_t>(i);
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
