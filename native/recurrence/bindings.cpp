// The Python face: deepspeech2.speech._recurrence. Arrays come as addresses: what they must be is checked, and they
// are kept alive, by the one caller, src/deepspeech2/speech/recurrence_native.py.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "recurrence.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recurrence {
namespace {

using Address = uintptr_t;
using WeightArguments = std::tuple<Address, std::string, Address, int64_t, int64_t>;
using BatchArguments = std::tuple<int64_t, int64_t, int, Address, bool, int>;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

Weight weight(const WeightArguments& arguments) {
  const auto& [data, format, scales, row_stride, column_stride] = arguments;
  const Format known = format == "float32"    ? Format::float32
                       : format == "bfloat16" ? Format::bfloat16
                       : format == "int8"     ? Format::int8
                                              : throw std::invalid_argument("unknown format of weights: " + format);
  return {at<const void>(data), known, at<const float>(scales), row_stride, column_stride};
}

Batch batch(const BatchArguments& arguments) {
  const auto& [rows, time, size, lengths, reverse, threads] = arguments;
  return {rows, time, size, at<const int64_t>(lengths), reverse, threads < 1 ? 1 : threads};
}

GatedWeights gated(const std::tuple<WeightArguments, WeightArguments, WeightArguments>& weights) {
  return {weight(std::get<0>(weights)), weight(std::get<1>(weights)), weight(std::get<2>(weights))};
}

using ForwardArguments = std::tuple<BatchArguments, std::tuple<WeightArguments, WeightArguments, WeightArguments>, Address,
                                    Address, Address, Address>;

GatedForward forward(const ForwardArguments& arguments) {
  const auto& [shape, matrices, bias, x, states, gates] = arguments;
  return {batch(shape),       gated(matrices),    at<const float>(bias),
          at<const float>(x), at<float>(states), at<float>(gates)};
}

}  // namespace
}  // namespace recurrence

NB_MODULE(_recurrence, module) {
  using namespace recurrence;
  using Three = std::tuple<WeightArguments, WeightArguments, WeightArguments>;
  module.def("simd", [] { return std::string(kernels().name); });
  module.def(
      "simple_forward",
      [](const BatchArguments& shape, const WeightArguments& matrix, Address bias, float limit, Address x,
         Address states) {
        const Batch b = batch(shape);
        const Weight w = weight(matrix);
        nb::gil_scoped_release release;
        simple_forward(b, w, at<const float>(bias), limit, at<const float>(x), at<float>(states));
      },
      "batch"_a, "weight"_a, "bias"_a, "limit"_a, "x"_a, "states"_a);
  module.def(
      "simple_backward",
      [](const BatchArguments& shape, const WeightArguments& transposed, float limit, Address states, Address grad,
         Address errors) {
        const Batch b = batch(shape);
        const Weight w = weight(transposed);
        nb::gil_scoped_release release;
        simple_backward(b, w, limit, at<const float>(states), at<const float>(grad), at<float>(errors));
      },
      "batch"_a, "transposed"_a, "limit"_a, "states"_a, "grad"_a, "errors"_a);
  module.def(
      "gated_forward",
      [](const std::vector<ForwardArguments>& passes) {
        if (passes.size() != 1 && passes.size() != 2) throw std::invalid_argument("expected one or two passes");
        const GatedForward first = forward(passes.front()), second = forward(passes.back());
        nb::gil_scoped_release release;
        passes.size() == 1 ? gated_forward(first) : gated_forward(first, second);
      },
      "passes"_a);
  module.def(
      "gated_backward",
      [](const BatchArguments& shape, const Three& transposed, Address states, Address gates, Address grad,
         const std::tuple<Address, Address, Address>& out) {
        const Batch b = batch(shape);
        const GatedWeights w = gated(transposed);
        const GatedErrors errors{at<float>(std::get<0>(out)), at<float>(std::get<1>(out)), at<float>(std::get<2>(out))};
        nb::gil_scoped_release release;
        gated_backward(b, w, at<const float>(states), at<const float>(gates), at<const float>(grad), errors);
      },
      "batch"_a, "transposed"_a, "states"_a, "gates"_a, "grad"_a, "out"_a);
}
