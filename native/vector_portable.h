// One number at a time: the fallback, and what the other vectors must equal.
struct Doubles {
  static constexpr int width = 1;
  double v;
  static Doubles load(const double* p) { return {*p}; }
  static Doubles all(double x) { return {x}; }
  void store(double* p) const { *p = v; }
};
struct Indices {
  int32_t v;
  static Indices load(const int32_t* p) { return {*p}; }
  static Indices all(int32_t x) { return {x}; }
  void store(int32_t* p) const { *p = v; }
};
using Mask = unsigned;
inline Doubles operator+(Doubles a, Doubles b) { return {a.v + b.v}; }
inline Doubles operator*(Doubles a, Doubles b) { return {a.v * b.v}; }
inline Indices operator+(Indices a, Indices b) { return {a.v + b.v}; }
inline Doubles smaller(Doubles a, Doubles b) { return {a.v < b.v ? a.v : b.v}; }
inline Doubles larger(Doubles a, Doubles b) { return {a.v > b.v ? a.v : b.v}; }
inline Mask greater(Doubles a, Doubles b) { return a.v > b.v; }
inline Mask at_least(Doubles a, Doubles b) { return a.v >= b.v; }
inline Mask equal(Indices a, Indices b) { return a.v == b.v; }
inline Mask clear_of(const uint64_t* words, uint64_t bit) { return !(*words & bit); }
inline Doubles choose(Mask m, Doubles yes, Doubles no) { return m ? yes : no; }
inline Indices choose(Mask m, Indices yes, Indices no) { return m ? yes : no; }
inline Doubles gather(const double* base, Indices i) { return {base[i.v]}; }
inline Indices gather(const int32_t* base, Indices i) { return {base[i.v]}; }
inline void compress(double* out, Doubles a, Mask m) { if (m) *out = a.v; }
inline void compress(int32_t* out, Indices a, Mask m) { if (m) *out = a.v; }
inline Indices counting(int32_t from) { return {from}; }
inline int bits_in(Mask m) { return static_cast<int>(m); }
