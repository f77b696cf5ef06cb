// How a layer is cut up: columns into panels, utterances into steps, states into what is not zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"

namespace recurrence {

// A padded batch, (batch, time, ...), and the valid frames of each utterance.
struct Batch {
  int64_t batch;
  int64_t time;
  int size;  // of one direction's state
  const int64_t* lengths;
  bool reverse;  // from each utterance's last valid frame to its first
  int threads;
};

// Utterances by falling length: at any step those still running come first.
class Schedule {
 public:
  explicit Schedule(const Batch& batch);
  int steps() const { return static_cast<int>(running_.size()) - 1; }
  // Utterances that have a frame at this step; 0 past the last.
  int running(int step) const { return running_[static_cast<size_t>(step)]; }
  // Row of the flattened (batch * time) frames.
  int64_t frame(int utterance, int step) const {
    const auto& one = utterances_[static_cast<size_t>(utterance)];
    return one.row * time_ + (reverse_ ? one.length - 1 - step : step);
  }
  // Clears the frames past each utterance's length, this member's share of the utterances.
  void clear_padding(float* rows, int64_t width, int member, int team) const;

 private:
  struct Utterance {
    int64_t row;
    int64_t length;
  };
  std::vector<Utterance> utterances_;
  std::vector<int> running_;
  int64_t time_;
  bool reverse_;
};

// The columns of a state cut into panels of about the same number of vectors. The same cut makes the blocks of depth.
class Panels {
 public:
  Panels(const Batch& batch, const Kernels& kernels);
  int count() const { return static_cast<int>(starts_.size()) - 1; }
  int start(int panel) const { return starts_[static_cast<size_t>(panel)]; }
  int columns(int panel) const { return start(panel + 1) - start(panel); }
  // Columns with the padding of the last panel.
  int padded(int panel) const { return vectors(panel) * width_; }
  int vectors(int panel) const { return (columns(panel) + width_ - 1) / width_; }
  int size() const { return starts_.back(); }
  int padded_size() const { return start(count() - 1) + padded(count() - 1); }
  const int32_t* starts() const { return starts_.data(); }
  // Asks for a panel of a row that will be read when its product is done.
  void fetch(const float* row, int panel) const {
    for (int i = 0; i < columns(panel); i += 16) __builtin_prefetch(row + start(panel) + i, 0, 2);
  }
  // Panels of one member of a team: neighbours, so that threads seldom write to the same cache line.
  int first(int member, int team) const { return static_cast<int>(int64_t{count()} * member / team); }

 private:
  int width_;
  std::vector<int32_t> starts_;
};

// Memory on a cache line's border, or on that of a huge page if it fills some: to get thousands of small pages takes
// longer than to fill them. Both take the bytes.
void* allocate(size_t bytes);
void release(void* memory, size_t bytes);

// Such memory, not set to anything.
template <class T>
class Aligned {
 public:
  explicit Aligned(size_t count) : data_(static_cast<T*>(allocate(count * sizeof(T))), Release{count * sizeof(T)}) {}
  T* get() { return data_.get(); }
  const T* get() const { return data_.get(); }

 private:
  struct Release {
    size_t bytes;
    void operator()(T* data) const { release(data, bytes); }
  };
  std::unique_ptr<T, Release> data_;
};

// A square weight as the caller holds it: element (from, to) at data[from * row_stride + to * column_stride].
struct Weight {
  const void* data;
  Format format;
  const float* scales;  // of int8, one for each column
  int64_t row_stride;
  int64_t column_stride;
};

// The same weight in panels.
class PackedWeight {
 public:
  // For products with up to so many rows. More than a few share the weights as float32, widened once.
  PackedWeight(const Panels& panels, const Weight& weight, int64_t rows);
  // Must have run for a panel, on any thread, before it is multiplied with.
  void pack(int panel);
  void describe(int panel, Product& product) const;

 private:
  const Panels& panels_;
  Weight weight_;
  Format format_;
  size_t element_;
  Aligned<unsigned char> packed_;
  Aligned<float> scales_;
};

// What is not zero of the rows of a matrix, in the order in which products read it: by block, then by row.
class Sparse {
 public:
  Sparse(const Panels& panels, int rows);
  void set(int row, int panel, const float* values, const Kernels& kernels);
  // Asks for what the others of a team have set: from another core's cache one line at a time would take longer than
  // to multiply with it.
  void fetch(int rows, int member, int team) const;
  void describe(int rows, Product& product) const;

 private:
  // Where the values of a row and panel begin.
  int64_t place(int row, int panel) const;

  const Panels& panels_;
  int rows_;
  Aligned<float> values_;
  Aligned<uint8_t> indices_;
  Aligned<int32_t> counts_;
};

}  // namespace recurrence
