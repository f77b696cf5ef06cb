// Vectors of floats, for what is compiled once for each instruction set: RECURRENCE_TARGET is its namespace,
// RECURRENCE_WIDTH the floats of a vector.
#pragma once

#include <cstdint>

#if RECURRENCE_WIDTH > 4
#include <immintrin.h>
#endif

namespace recurrence {
namespace RECURRENCE_TARGET {

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

}  // namespace RECURRENCE_TARGET
}  // namespace recurrence
