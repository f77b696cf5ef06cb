// Random shapes under the sanitizers: every result is compared with plain loops in double precision.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <vector>

#include "recurrence.h"

using namespace recurrence;

namespace {

std::mt19937 generator(7);

int below(int limit) { return static_cast<int>(generator() % static_cast<unsigned>(limit)); }

// Exactly as many numbers as are meant to be read, so that reading one more is seen.
std::vector<float> random_numbers(size_t count, double scale) {
  std::normal_distribution<double> normal(0.0, scale);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = static_cast<float>(normal(generator));
  return numbers;
}

struct Case {
  std::vector<int64_t> lengths;
  Batch batch;
};

Case random_case() {
  Case one;
  const int time = 1 + below(6), rows = 1 + below(7);
  for (int row = 0; row < rows; ++row) one.lengths.push_back(below(time + 1));
  const int sizes[] = {1 + below(24), 79 + below(4), 160 + below(12), 530};
  one.batch = {rows, time, sizes[below(below(8) ? 3 : 4)], nullptr, below(2) == 1, 1 + below(3)};
  return one;
}

void check(const char* what, double found, double expected, double scale) {
  if (std::fabs(found - expected) <= 2e-4 * (scale + std::fabs(expected))) return;
  std::printf("%s: expected %g, found %g\n", what, expected, found);
  std::exit(1);
}

template <class Visit>
void every_frame(const Batch& batch, const Visit& visit) {
  for (int64_t row = 0; row < batch.batch; ++row)
    for (int64_t step = 0; step < batch.lengths[row]; ++step) {
      const int64_t t = batch.reverse ? batch.lengths[row] - 1 - step : step;
      visit(row * batch.time + t, step ? row * batch.time + (batch.reverse ? t + 1 : t - 1) : -1);
    }
}

double product(const std::vector<double>& states, int64_t frame, const std::vector<float>& weight, int size, int column) {
  double sum = 0.0;
  for (int k = 0; frame >= 0 && k < size; ++k)
    sum += states[static_cast<size_t>(frame * size + k)] * weight[static_cast<size_t>(k * size + column)];
  return sum;
}

Weight plain(const std::vector<float>& weight, int size) {
  return {weight.data(), Format::float32, nullptr, size, 1};
}

Weight transposed(const std::vector<float>& weight, int size) {
  return {weight.data(), Format::float32, nullptr, 1, size};
}

void simple(const Case& one) {
  Batch batch = one.batch;
  batch.lengths = one.lengths.data();
  const int size = batch.size;
  const size_t values = static_cast<size_t>(batch.batch * batch.time) * static_cast<size_t>(size);
  const auto x = random_numbers(values, 1.0), grad = random_numbers(values, 1.0);
  const auto weight = random_numbers(static_cast<size_t>(size) * static_cast<size_t>(size), 1.0 / std::sqrt(size));
  const auto bias = random_numbers(static_cast<size_t>(size), 0.3);
  std::vector<float> states(values, NAN), errors(values, NAN);
  simple_forward(batch, plain(weight, size), bias.data(), 2.0f, x.data(), states.data());
  simple_backward(batch, transposed(weight, size), 2.0f, states.data(), grad.data(), errors.data());
  std::vector<double> expected(values, 0.0);
  every_frame(batch, [&](int64_t frame, int64_t before) {
    for (int j = 0; j < size; ++j) {
      const size_t at = static_cast<size_t>(frame * size + j);
      const double total = x[at] + bias[static_cast<size_t>(j)] + product(expected, before, weight, size, j);
      expected[at] = std::fmin(std::fmax(total, 0.0), 2.0);
    }
  });
  for (size_t i = 0; i < values; ++i) check("simple state", states[i], expected[i], 1.0);
  for (size_t i = 0; i < values; ++i) check("error is a number", std::isfinite(errors[i]) ? 0.0 : 1e9, 0.0, 1.0);
}

void gated(const Case& one) {
  Batch batch = one.batch;
  batch.lengths = one.lengths.data();
  const int size = batch.size;
  const size_t values = static_cast<size_t>(batch.batch * batch.time) * static_cast<size_t>(size);
  const auto x = random_numbers(3 * values, 1.0), grad = random_numbers(values, 1.0);
  std::vector<float> weights[3];
  for (auto& weight : weights)
    weight = random_numbers(static_cast<size_t>(size) * static_cast<size_t>(size), 1.0 / std::sqrt(size));
  const auto bias = random_numbers(3 * static_cast<size_t>(size), 0.3);
  std::vector<float> states(values, NAN), gates(3 * values, NAN), totals(3 * values, NAN), earlier(values, NAN),
      kept(values, NAN);
  const GatedWeights forward{plain(weights[0], size), plain(weights[1], size), plain(weights[2], size)};
  const GatedForward pass{batch, forward, bias.data(), x.data(), states.data(), gates.data()};
  GatedForward without = pass;
  without.gates = nullptr;
  gated_forward(below(2) ? pass : without);
  gated_forward(pass);
  // Beside the same in the other direction.
  std::vector<float> beside(values, NAN), opposite(values, NAN);
  GatedForward other = without;
  other.batch.reverse = !batch.reverse;
  other.states = opposite.data();
  without.states = beside.data();
  gated_forward(without, other);
  for (size_t i = 0; i < values; ++i) check("state beside the other direction", beside[i], states[i], 1.0);
  for (size_t i = 0; i < values; ++i) check("other direction is a number", std::isfinite(opposite[i]) ? 0.0 : 1e9, 0.0, 1.0);
  const GatedWeights back{transposed(weights[0], size), transposed(weights[1], size), transposed(weights[2], size)};
  gated_backward(batch, back, states.data(), gates.data(), grad.data(), {totals.data(), earlier.data(), kept.data()});
  std::vector<double> expected(values, 0.0), reset(values, 0.0);
  const auto sigmoid = [](double value) { return 1.0 / (1.0 + std::exp(-value)); };
  every_frame(batch, [&](int64_t frame, int64_t before) {
    const auto total = [&](int gate, int j) {
      return x[static_cast<size_t>((frame * 3 + gate) * size + j)] + bias[static_cast<size_t>(gate * size + j)];
    };
    for (int j = 0; j < size && before >= 0; ++j)
      reset[static_cast<size_t>(frame * size + j)] = sigmoid(total(1, j) + product(expected, before, weights[1], size, j)) *
                                                     expected[static_cast<size_t>(before * size + j)];
    for (int j = 0; j < size; ++j) {
      const double z = sigmoid(total(0, j) + product(expected, before, weights[0], size, j));
      const double c = std::fmax(0.0, total(2, j) + product(reset, before < 0 ? -1 : frame, weights[2], size, j));
      const double h = before < 0 ? 0.0 : expected[static_cast<size_t>(before * size + j)];
      expected[static_cast<size_t>(frame * size + j)] = (1.0 - z) * h + z * c;
    }
  });
  for (size_t i = 0; i < values; ++i) {
    check("gated state", states[i], expected[i], 1.0);
    check("kept state", kept[i], reset[i], 1.0);
    check("error is a number", std::isfinite(totals[i]) && std::isfinite(earlier[i]) ? 0.0 : 1e9, 0.0, 1.0);
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    std::printf("%s\n", kernels().name);
  } catch (const std::invalid_argument&) {
    std::printf("this processor does not run these instructions\n");
    return 0;
  }
  const int cases = count > 1 ? std::atoi(arguments[1]) : 100;
  for (int i = 0; i < cases; ++i) {
    const Case one = random_case();
    i % 2 ? gated(one) : simple(one);
  }
  std::printf("%d cases\n", cases);
}
