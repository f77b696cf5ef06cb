#include "layout.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace recurrence {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

std::align_val_t border(size_t bytes) { return std::align_val_t{bytes < 2 * kHugePage ? 64 : kHugePage}; }

}  // namespace

void* allocate(size_t bytes) {
  void* memory = ::operator new(bytes, border(bytes));
#ifdef __linux__
  if (bytes >= 2 * kHugePage) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // a hint: it may fail
#endif
  return memory;
}

void release(void* memory, size_t bytes) { ::operator delete(memory, border(bytes)); }

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

Panels::Panels(const Batch& batch, const Kernels& kernels) : width_(kernels.width) {
  const int vectors = (batch.size + width_ - 1) / width_;
  int count = (vectors + kPanelVectors - 1) / kPanelVectors;
  count = std::min(vectors, (count + batch.threads - 1) / batch.threads * batch.threads);
  for (int panel = 0; panel <= count; ++panel)
    starts_.push_back(std::min(batch.size, static_cast<int>(int64_t{vectors} * panel / count) * width_));
}

// A matrix up to this size is expected to stay near a core from one step to the next.
constexpr size_t kNearBytes = size_t{1} << 20;

PackedWeight::PackedWeight(const Panels& panels, const Weight& weight, int64_t rows)
    : panels_(panels),
      weight_(weight),
      format_(rows > kStreamedRows ? Format::float32 : weight.format),
      element_(format_ == Format::float32 ? 4 : format_ == Format::bfloat16 ? 2 : 1),
      packed_(static_cast<size_t>(panels.size()) * static_cast<size_t>(panels.padded_size()) * element_),
      scales_(static_cast<size_t>(panels.padded_size())) {
  if (!weight.scales) return;
  std::fill_n(scales_.get(), panels.padded_size(), 0.0f);
  std::copy_n(weight.scales, panels.size(), scales_.get());
}

namespace {

template <class From, class To>
To widened(From value) {
  if constexpr (std::is_same_v<From, To>) return value;
  if constexpr (std::is_same_v<From, int8_t>) return static_cast<To>(value);
  const uint32_t bits = static_cast<uint32_t>(value) << 16;  // a bfloat16 is the upper half of a float32
  float number;
  std::memcpy(&number, &bits, sizeof(number));
  return static_cast<To>(number);
}

template <class From, class To>
void pack_panel(const Weight& weight, int depth, int start, int columns, int padded, To* packed) {
  const From* from = static_cast<const From*>(weight.data) + start * weight.column_stride;
  if (weight.column_stride == 1) {
    for (int row = 0; row < depth; ++row, from += weight.row_stride, packed += padded) {
      std::transform(from, from + columns, packed, widened<From, To>);
      std::fill_n(packed + columns, padded - columns, To{});
    }
    return;
  }
  constexpr int line = 16;  // of every column of a transposed weight a cache line at a time
  for (int first = 0; first < depth; first += line)
    for (int column = 0; column < padded; ++column)
      for (int row = first; row < std::min(depth, first + line); ++row)
        packed[int64_t{row} * padded + column] =
            column < columns ? widened<From, To>(from[row * weight.row_stride + column * weight.column_stride]) : To{};
}

}  // namespace

void PackedWeight::pack(int panel) {
  const int depth = panels_.size(), start = panels_.start(panel), columns = panels_.columns(panel);
  const int padded = panels_.padded(panel);
  unsigned char* to = packed_.get() + static_cast<size_t>(start) * static_cast<size_t>(depth) * element_;
  const auto as = [&](auto from, auto type) {
    pack_panel<decltype(from)>(weight_, depth, start, columns, padded, reinterpret_cast<decltype(type)*>(to));
  };
  if (weight_.format == Format::float32) return as(float{}, float{});
  if (weight_.format == Format::bfloat16) return element_ == 4 ? as(uint16_t{}, float{}) : as(uint16_t{}, uint16_t{});
  element_ == 4 ? as(int8_t{}, float{}) : as(int8_t{}, int8_t{});
}

void PackedWeight::describe(int panel, Product& product) const {
  const size_t depth = static_cast<size_t>(panels_.size());
  product.weights = packed_.get() + static_cast<size_t>(panels_.start(panel)) * depth * element_;
  product.scales = weight_.scales ? scales_.get() + panels_.start(panel) : nullptr;
  product.format = format_;
  product.vectors = panels_.vectors(panel);
  product.blocks = panels_.count();
  product.starts = panels_.starts();
  product.distant = depth * depth * element_ > kNearBytes;
}

Sparse::Sparse(const Panels& panels, int rows)
    : panels_(panels),
      rows_(rows),
      values_(static_cast<size_t>(rows) * static_cast<size_t>(panels.size())),
      indices_(static_cast<size_t>(rows) * static_cast<size_t>(panels.size())),
      counts_(static_cast<size_t>(rows) * static_cast<size_t>(panels.count())) {}

int64_t Sparse::place(int row, int panel) const {
  return int64_t{panels_.start(panel)} * rows_ + int64_t{row} * panels_.columns(panel);
}

void Sparse::set(int row, int panel, const float* values, const Kernels& kernels) {
  const int64_t at = place(row, panel);
  counts_.get()[panel * rows_ + row] =
      kernels.compress(values, panels_.columns(panel), values_.get() + at, indices_.get() + at);
}

void Sparse::fetch(int rows, int member, int team) const {
  const int first = panels_.first(member, team), end = panels_.first(member + 1, team);
  for (int panel = 0; panel < panels_.count(); ++panel) {
    if (panel >= first && panel < end) continue;
    for (int row = 0; row < rows; ++row) {
      const int64_t at = place(row, panel);
      const int count = counts_.get()[panel * rows_ + row];
      for (int i = 0; i < std::abs(count); i += 16) __builtin_prefetch(values_.get() + at + i, 0, 2);
      for (int i = 0; i < count; i += 64) __builtin_prefetch(indices_.get() + at + i, 0, 2);
    }
  }
}

void Sparse::describe(int rows, Product& product) const {
  product.values = values_.get();
  product.indices = indices_.get();
  product.counts = counts_.get();
  product.capacity = rows_;
  product.rows = rows;
}

}  // namespace recurrence
