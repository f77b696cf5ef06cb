// Four numbers at a time. Included inside a namespace, after <immintrin.h>.
struct Doubles {
  static constexpr int width = 4;
  __m256d v;
  static Doubles load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static Doubles all(double x) { return {_mm256_set1_pd(x)}; }
  void store(double* p) const { _mm256_storeu_pd(p, v); }
};
struct Indices {
  __m128i v;
  static Indices load(const int32_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
  static Indices all(int32_t x) { return {_mm_set1_epi32(x)}; }
  void store(int32_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }
};
using Mask = unsigned;
inline Doubles operator+(Doubles a, Doubles b) { return {_mm256_add_pd(a.v, b.v)}; }
inline Doubles operator*(Doubles a, Doubles b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline Indices operator+(Indices a, Indices b) { return {_mm_add_epi32(a.v, b.v)}; }
inline Doubles smaller(Doubles a, Doubles b) { return {_mm256_min_pd(a.v, b.v)}; }
inline Doubles larger(Doubles a, Doubles b) { return {_mm256_max_pd(a.v, b.v)}; }
inline Mask greater(Doubles a, Doubles b) {
  return static_cast<Mask>(_mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ)));
}
inline Mask at_least(Doubles a, Doubles b) {
  return static_cast<Mask>(_mm256_movemask_pd(_mm256_cmp_pd(a.v, b.v, _CMP_GE_OQ)));
}
inline Mask equal(Indices a, Indices b) {
  return static_cast<Mask>(_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(a.v, b.v))));
}
inline Mask clear_of(const uint64_t* words, uint64_t bit) {
  const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  const __m256i hit = _mm256_and_si256(w, _mm256_set1_epi64x(static_cast<long long>(bit)));
  return static_cast<Mask>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(hit, _mm256_setzero_si256()))));
}
// Lane masks and compressions from the four bits of a mask.
inline __m256i lanes(Mask m) {
  const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
  return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(m), bit), bit);
}
inline Doubles choose(Mask m, Doubles yes, Doubles no) {
  return {_mm256_blendv_pd(no.v, yes.v, _mm256_castsi256_pd(lanes(m)))};
}
inline Indices choose(Mask m, Indices yes, Indices no) {
  const __m128i bit = _mm_setr_epi32(1, 2, 4, 8);
  const __m128i chosen = _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(m)), bit), bit);
  return {_mm_blendv_epi8(no.v, yes.v, chosen)};
}
inline Doubles gather(const double* base, Indices i) { return {_mm256_i32gather_pd(base, i.v, 8)}; }
inline Indices gather(const int32_t* base, Indices i) { return {_mm_i32gather_epi32(base, i.v, 4)}; }
alignas(32) constexpr int32_t kPairs[16][8] = {
    {0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}, {2, 3, 0, 1, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
    {4, 5, 0, 1, 2, 3, 6, 7}, {0, 1, 4, 5, 2, 3, 6, 7}, {2, 3, 4, 5, 0, 1, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
    {6, 7, 0, 1, 2, 3, 4, 5}, {0, 1, 6, 7, 2, 3, 4, 5}, {2, 3, 6, 7, 0, 1, 4, 5}, {0, 1, 2, 3, 6, 7, 4, 5},
    {4, 5, 6, 7, 0, 1, 2, 3}, {0, 1, 4, 5, 6, 7, 2, 3}, {2, 3, 4, 5, 6, 7, 0, 1}, {0, 1, 2, 3, 4, 5, 6, 7}};
alignas(16) constexpr int8_t kQuads[16][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15}, {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15},
    {4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 12, 13, 14, 15}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 8, 9, 10, 11},
    {4, 5, 6, 7, 12, 13, 14, 15, 0, 1, 2, 3, 8, 9, 10, 11}, {0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11},
    {8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 4, 5, 6, 7},
    {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
inline void compress(double* out, Doubles a, Mask m) {
  const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(kPairs[m]));
  _mm256_storeu_pd(out, _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(a.v), order)));
}
inline void compress(int32_t* out, Indices a, Mask m) {
  const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kQuads[m]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_shuffle_epi8(a.v, order));
}
inline Indices counting(int32_t from) { return {_mm_add_epi32(_mm_set1_epi32(from), _mm_setr_epi32(0, 1, 2, 3))}; }
inline int bits_in(Mask m) { return __builtin_popcount(m); }
