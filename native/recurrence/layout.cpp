#include "layout.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace recurrence {

Schedule::Schedule(const Batch& batch) : time_(batch.time), reverse_(batch.reverse) {
  utterances_.resize(static_cast<size_t>(batch.batch));
  for (int64_t row = 0; row < batch.batch; ++row) utterances_[static_cast<size_t>(row)] = {row, batch.lengths[row]};
  std::stable_sort(utterances_.begin(), utterances_.end(),
                   [](const Utterance& a, const Utterance& b) { return a.length > b.length; });
  const int64_t steps = utterances_.empty() ? 0 : utterances_.front().length;
  int running = static_cast<int>(batch.batch);
  for (int64_t step = 0; step <= steps; ++step) {
    while (running > 0 && utterances_[static_cast<size_t>(running - 1)].length <= step) --running;
    running_.push_back(running);
  }
}

void Schedule::clear_padding(float* rows, int64_t width, int member, int team) const {
  for (size_t i = static_cast<size_t>(member); i < utterances_.size(); i += static_cast<size_t>(team)) {
    float* end = rows + (utterances_[i].row * time_ + utterances_[i].length) * width;
    std::fill_n(end, (time_ - utterances_[i].length) * width, 0.0f);
  }
}

Panels::Panels(int size, int threads, const Kernels& kernels) : width_(kernels.width) {
  const int vectors = (size + width_ - 1) / width_;
  int count = (vectors + kPanelVectors - 1) / kPanelVectors;
  count = std::min(vectors, (count + threads - 1) / threads * threads);
  for (int panel = 0; panel <= count; ++panel)
    starts_.push_back(std::min(size, static_cast<int>(int64_t{vectors} * panel / count) * width_));
}

// A matrix up to this size is expected to stay near a core from one step to the next.
constexpr size_t kNearBytes = size_t{1} << 20;

PackedWeight::PackedWeight(const Panels& panels, const Weight& weight)
    : panels_(panels),
      weight_(weight),
      element_(weight.format == Format::float32 ? 4 : weight.format == Format::bfloat16 ? 2 : 1),
      packed_(static_cast<size_t>(panels.size()) * static_cast<size_t>(panels.stride()) * element_),
      scales_(static_cast<size_t>(panels.stride())) {
  if (!weight.scales) return;
  std::fill_n(scales_.get(), panels.stride(), 0.0f);
  std::copy_n(weight.scales, panels.size(), scales_.get());
}

namespace {

template <class T>
void pack_panel(const Weight& weight, int depth, int start, int columns, int padded, T* packed) {
  const T* from = static_cast<const T*>(weight.data) + start * weight.column_stride;
  if (weight.column_stride == 1) {
    for (int row = 0; row < depth; ++row) {
      std::memcpy(packed + int64_t{row} * padded, from + row * weight.row_stride, static_cast<size_t>(columns) * sizeof(T));
      std::fill_n(packed + int64_t{row} * padded + columns, padded - columns, T{});
    }
    return;
  }
  for (int column = 0; column < padded; ++column)
    for (int row = 0; row < depth; ++row)
      packed[int64_t{row} * padded + column] =
          column < columns ? from[row * weight.row_stride + column * weight.column_stride] : T{};
}

}  // namespace

void PackedWeight::pack(int panel) {
  const int depth = panels_.size(), start = panels_.start(panel), columns = panels_.columns(panel);
  const int padded = panels_.padded(panel);
  unsigned char* to = packed_.get() + static_cast<size_t>(start) * static_cast<size_t>(depth) * element_;
  if (element_ == 4) return pack_panel(weight_, depth, start, columns, padded, reinterpret_cast<uint32_t*>(to));
  if (element_ == 2) return pack_panel(weight_, depth, start, columns, padded, reinterpret_cast<uint16_t*>(to));
  pack_panel(weight_, depth, start, columns, padded, to);
}

void PackedWeight::describe(int panel, Product& product) const {
  product.weights = packed_.get() + static_cast<size_t>(panels_.start(panel)) * static_cast<size_t>(panels_.size()) * element_;
  product.scales = weight_.scales ? scales_.get() + panels_.start(panel) : nullptr;
  product.format = weight_.format;
  product.vectors = panels_.vectors(panel);
  product.blocks = panels_.count();
  product.starts = panels_.starts();
  product.distant = static_cast<size_t>(panels_.size()) * static_cast<size_t>(panels_.size()) * element_ > kNearBytes;
}

Sparse::Sparse(const Panels& panels, int rows)
    : panels_(panels),
      values_(static_cast<size_t>(rows) * static_cast<size_t>(panels.stride())),
      indices_(static_cast<size_t>(rows) * static_cast<size_t>(panels.stride())),
      counts_(static_cast<size_t>(rows) * static_cast<size_t>(panels.count())) {}

void Sparse::set(int row, int panel, const float* values, const Kernels& kernels) {
  const int64_t at = int64_t{row} * panels_.stride() + panels_.start(panel);
  counts_[static_cast<size_t>(row) * static_cast<size_t>(panels_.count()) + static_cast<size_t>(panel)] =
      kernels.compress(values, panels_.columns(panel), values_.get() + at, indices_.get() + at);
}

void Sparse::describe(int rows, Product& product) const {
  product.values = values_.get();
  product.indices = indices_.get();
  product.counts = counts_.data();
  product.rows = rows;
  product.stride = panels_.stride();
}

}  // namespace recurrence
