// Compiled once for each instruction set: CTC_TARGET names the namespace, CTC_VECTOR the header of its vectors.
#include "kernels.h"

#include <cstring>

#ifdef CTC_INTRINSICS
#include <immintrin.h>
#endif

namespace ctc {
namespace CTC_TARGET {
namespace {

#include CTC_VECTOR

constexpr int W = Doubles::width;

// The lanes of a vector that starts at `i` and are below `count`.
inline Mask lanes_left(int count, int i) {
  const int left = count - i;
  return left >= W ? (1u << W) - 1 : (1u << left) - 1;
}

// exp by 2^k * exp(r), |r| <= ln2/2, Taylor to degree 13: error below 1 unit in the last place. Plain code: the
// compiler makes vectors of it. Always eight numbers: a length known only when it runs would cost more than they do.
template <typename Number>
inline void eight_exponentials(const Number* in, double* out, double* sums) {
  constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  constexpr double kRound = 0x1.8p52;
  constexpr double c[] = {1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,       1.0 / 5040,
                          1.0 / 40320,  1.0 / 362880,  1.0 / 3628800,  1.0 / 39916800,  1.0 / 479001600,
                          1.0 / 6227020800};
  for (int i = 0; i < 8; ++i) {
    const double x = static_cast<double>(in[i]);
    const double shifted = x * kLog2e + kRound;
    const double k = shifted - kRound;
    const double r = (x - k * kLn2High) - k * kLn2Low;
    // Even and odd powers apart: two chains of half the length, which the processor runs side by side. The largest
    // terms are added last.
    const double square = r * r;
    double even = c[10], odd = c[11];
    for (int j = 8; j >= 0; j -= 2) {
      even = even * square + c[j];
      odd = odd * square + c[j + 1];
    }
    double p = 1.0 + (r + square * (even + r * odd));
    uint64_t bits;
    std::memcpy(&bits, &shifted, 8);
    bits = (bits << 52) + (uint64_t{1023} << 52);
    double scale;
    std::memcpy(&scale, &bits, 8);
    // Written so that nan stays nan and what is too large becomes inf.
    p = p * scale;
    p = x < -708.0 ? 0.0 : p;
    p = x > 700.0 ? __builtin_inf() : p;
    out[i] = p;
    sums[i] += p;
  }
}

template <typename Number>
double exponentials(const Number* in, int count, double* out) {
  double sums[8] = {};
  int i = 0;
  for (; i + 8 <= count; i += 8) eight_exponentials(in + i, out + i, sums);
  if (i < count) {
    Number rest[8];
    for (int j = 0; j < 8; ++j) rest[j] = i + j < count ? in[i + j] : static_cast<Number>(-1000.0);
    eight_exponentials(rest, out + i, sums);
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

template <bool kFactor>
int stay_frame(const StayFrame& f) {
  const Doubles blank_probability = Doubles::all(f.blank_probability);
  const Doubles zero = Doubles::all(0.0);
  const Indices now = Indices::all(f.frame + 1);
  int entered = 0;
  int merged = 0;
  for (int i = 0; i < f.count; i += W) {
    const Mask valid = lanes_left(f.count, i);
    const Doubles probability = gather(f.probability, Indices::load(f.last + i));
    const Indices source = gather(f.slot_of_node, Indices::load(f.parent + i)) + Indices::load(f.source_offset + i);
    Doubles entering = gather(f.mass, source) * probability;
    if (kFactor) entering = entering * Doubles::load(f.factor + i);
    const Doubles blank = Doubles::load(f.mass + i) * blank_probability;
    const Doubles repeated = Doubles::load(f.label + i) * probability;
    const Doubles label = repeated + entering;
    blank.store(f.new_blank + i);
    label.store(f.new_label + i);
    (blank + label).store(f.new_total + i);
    choose(at_least(label, blank), now, Indices::load(f.end + i)).store(f.new_end + i);
    merged += bits_in(greater(entering, zero) & valid);
    const Mask outweighs = greater(entering, blank + repeated) & valid;
    compress(f.entered + entered, counting(i), outweighs);
    entered += bits_in(outweighs);
  }
  *f.merged = merged;
  return entered;
}

int stay(const StayFrame& f) { return f.factor ? stay_frame<true>(f) : stay_frame<false>(f); }

void range(const double* values, int count, double* smallest, double* largest) {
  double low = values[0], high = values[0];
  int i = 0;
  if (count >= W) {
    Doubles lows = Doubles::load(values), highs = lows;
    for (i = W; i + W <= count; i += W) {
      const Doubles v = Doubles::load(values + i);
      lows = smaller(lows, v);
      highs = larger(highs, v);
    }
    double a[W], b[W];
    lows.store(a);
    highs.store(b);
    for (int j = 0; j < W; ++j) {
      low = a[j] < low ? a[j] : low;
      high = b[j] > high ? b[j] : high;
    }
  }
  for (; i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  *smallest = low;
  *largest = high;
}

int extend(const double* total, const double* blank, const int32_t* last, const uint64_t* blocked, uint64_t bit,
           int count, int32_t column, double probability, double threshold, double* out_value, int32_t* out_slot) {
  const Doubles p = Doubles::all(probability), least = Doubles::all(threshold);
  const Indices same = Indices::all(column);
  int found = 0;
  for (int i = 0; i < count; i += W) {
    Doubles value = Doubles::load(total + i) * p;
    Mask good = greater(value, least) & lanes_left(count, i);
    if (!good) continue;
    if (blocked) good &= clear_of(blocked + i, bit);
    const Mask repeats = equal(Indices::load(last + i), same);
    if (repeats & good) {
      value = choose(repeats, Doubles::load(blank + i) * p, value);
      good &= greater(value, least);
    }
    compress(out_value + found, value, good);
    compress(out_slot + found, counting(i), good);
    found += bits_in(good);
  }
  return found;
}

double select_few(double* values, int count, int rank) {
  for (int i = 1; i < count; ++i) {
    const double v = values[i];
    int j = i;
    for (; j > 0 && values[j - 1] < v; --j) values[j] = values[j - 1];
    values[j] = v;
  }
  return values[rank - 1];
}

// A sample of nine tells where about the rank-th largest lies.
double pivot(const double* values, int count, int rank) {
  double sample[9];
  for (int i = 0; i < 9; ++i) sample[i] = values[static_cast<int64_t>(i) * (count - 1) / 8];
  int position = static_cast<int>(static_cast<int64_t>(rank) * 9 / count);
  return select_few(sample, 9, position >= 9 ? 9 : position + 1);
}

int reaching(const double* values, int count, double threshold, int32_t* out_slot) {
  const Doubles least = Doubles::all(threshold);
  int found = 0;
  for (int i = 0; i < count; i += W) {
    const Mask good = at_least(Doubles::load(values + i), least) & lanes_left(count, i);
    if (!good) continue;
    compress(out_slot + found, counting(i), good);
    found += bits_in(good);
  }
  return found;
}

double select_by_pivots(const double* values, int count, int rank, double* above, double* under, double* spare) {
  while (count > 24) {
    const double middle = pivot(values, count, rank);
    const Doubles m = Doubles::all(middle);
    int higher = 0, lower = 0;
    for (int i = 0; i < count; i += W) {
      const Doubles v = Doubles::load(values + i);
      const Mask valid = lanes_left(count, i);
      const Mask up = greater(v, m) & valid, down = greater(m, v) & valid;
      compress(above + higher, v, up);
      compress(under + lower, v, down);
      higher += bits_in(up);
      lower += bits_in(down);
    }
    if (rank <= higher) {
      values = above;
      count = higher;
      above = spare;
      spare = const_cast<double*>(values);
    } else if (rank <= count - lower) {
      return middle;
    } else {
      rank -= count - lower;
      values = under;
      count = lower;
      under = spare;
      spare = const_cast<double*>(values);
    }
  }
  double few[24];
  for (int i = 0; i < count; ++i) few[i] = values[i];
  return select_few(few, count, rank);
}

// Where few of many are wanted: at least as much as the rank-th largest of all is the rank-th largest of the largest
// values of interleaved parts. Writes the values that are not below that; returns how many.
int likely_largest(const double* values, int count, int rank, double* out, double* largest, double* scratch) {
  const int parts = (2 * rank + W - 1) / W * W, room = parts + kPadding;
  for (int j = 0; j < parts; j += W) Doubles::load(values + j).store(largest + j);
  for (int start = parts; start + parts <= count; start += parts)
    for (int j = 0; j < parts; j += W)
      larger(Doubles::load(largest + j), Doubles::load(values + start + j)).store(largest + j);
  const Doubles least =
      Doubles::all(select_by_pivots(largest, parts, rank, scratch, scratch + room, scratch + 2 * room));
  int found = 0;
  for (int i = 0; i < count; i += W) {
    const Doubles v = Doubles::load(values + i);
    const Mask good = at_least(v, least) & lanes_left(count, i);
    if (!good) continue;
    compress(out + found, v, good);
    found += bits_in(good);
  }
  return found;
}

double select(const double* values, int count, int rank, double* scratch) {
  const int room = count + kPadding;
  double *first = scratch, *second = scratch + room, *third = scratch + 2 * room;
  if (count < 512 || rank > count / 16) return select_by_pivots(values, count, rank, first, second, third);
  count = likely_largest(values, count, rank, first, second, third);
  return select_by_pivots(first, count, rank, second, third, first);
}

int below(const double* values, int count, double threshold, int32_t* out_slot) {
  const Doubles least = Doubles::all(threshold);
  int found = 0;
  for (int i = 0; i < count; i += W) {
    const Mask low = greater(least, Doubles::load(values + i)) & lanes_left(count, i);
    compress(out_slot + found, counting(i), low);
    found += bits_in(low);
  }
  return found;
}

}  // namespace

extern const Kernels table;
const Kernels table = {CTC_NAME, exponentials<float>, exponentials<double>, stay, range, extend, select, reaching, below};

}  // namespace CTC_TARGET
}  // namespace ctc
