// Eight numbers at a time. Included inside a namespace, after <immintrin.h>.
struct Doubles {
  static constexpr int width = 8;
  __m512d v;
  static Doubles load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static Doubles all(double x) { return {_mm512_set1_pd(x)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
};
struct Indices {
  __m256i v;
  static Indices load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Indices all(int32_t x) { return {_mm256_set1_epi32(x)}; }
  void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
using Mask = unsigned;
inline Doubles operator+(Doubles a, Doubles b) { return {_mm512_add_pd(a.v, b.v)}; }
inline Doubles operator*(Doubles a, Doubles b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline Indices operator+(Indices a, Indices b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline Doubles smaller(Doubles a, Doubles b) { return {_mm512_min_pd(a.v, b.v)}; }
inline Doubles larger(Doubles a, Doubles b) { return {_mm512_max_pd(a.v, b.v)}; }
inline Mask greater(Doubles a, Doubles b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ); }
inline Mask at_least(Doubles a, Doubles b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ); }
inline Mask equal(Indices a, Indices b) { return _mm256_cmpeq_epi32_mask(a.v, b.v); }
inline Mask clear_of(const uint64_t* words, uint64_t bit) {
  return _mm512_testn_epi64_mask(_mm512_loadu_si512(words), _mm512_set1_epi64(static_cast<long long>(bit)));
}
inline Doubles choose(Mask m, Doubles yes, Doubles no) {
  return {_mm512_mask_blend_pd(static_cast<__mmask8>(m), no.v, yes.v)};
}
inline Indices choose(Mask m, Indices yes, Indices no) {
  return {_mm256_mask_blend_epi32(static_cast<__mmask8>(m), no.v, yes.v)};
}
inline Doubles gather(const double* base, Indices i) { return {_mm512_i32gather_pd(i.v, base, 8)}; }
inline Indices gather(const int32_t* base, Indices i) { return {_mm256_i32gather_epi32(base, i.v, 4)}; }
// Compressed in a register and stored whole: the compressing store is slow on some processors.
inline void compress(double* out, Doubles a, Mask m) {
  _mm512_storeu_pd(out, _mm512_maskz_compress_pd(static_cast<__mmask8>(m), a.v));
}
inline void compress(int32_t* out, Indices a, Mask m) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_maskz_compress_epi32(static_cast<__mmask8>(m), a.v));
}
inline Indices counting(int32_t from) {
  return {_mm256_add_epi32(_mm256_set1_epi32(from), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))};
}
inline int bits_in(Mask m) { return __builtin_popcount(m); }
