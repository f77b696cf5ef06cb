// The inner loops of the recurrences, compiled once for each instruction set and chosen when the module is loaded.
// Plain arrays, and nothing of the standard library: see native/kernels.h for the reason.
#pragma once

#include <cstdint>

namespace recurrence {

// Widest panel, in vectors: as many accumulators as keep both multipliers of a core busy and fit its registers.
constexpr int kPanelVectors = 10;
// Most rows of states that are multiplied at once by two vectors of weights: again what the registers hold.
constexpr int kTileRows = 6;
// Up to so many rows each read weights of fewer bytes than float32 on their own; more of them share weights widened once.
constexpr int kStreamedRows = 2;

enum class Format { float32, bfloat16, int8 };

// Sums of one panel of columns: for every row, its state times the panel's weights.
// Depth is cut into blocks, so that a block of weights is fetched once and serves every row from the first-level cache.
// Whatever the number of rows, blocks or threads, a sum is one chain of multiply-adds over ascending depth, and terms
// that are zero are left out, which changes no bit of it.
struct Product {
  const void* weights;      // depth x (vectors * width), contiguous
  const float* scales;      // one for each column; null: none
  Format format;
  int vectors;
  int blocks;
  const int32_t* starts;    // first depth of every block, and the depth
  // Of every block the rows after each other, with room for `capacity` of them: what is not zero, from the first place.
  const float* values;
  const uint8_t* indices;   // of a value within its block; at the same places
  const int32_t* counts;    // of each block and row; -n: all n of the block, the indices are not set
  int capacity;
  int rows;
  bool add;                 // to what `sums` holds
  bool distant;             // the weights are more than the second-level cache holds
  float* sums;              // rows x (vectors * width)
};

struct Kernels {
  const char* name;
  int width;  // floats in a vector
  void (*multiply)(const Product&);
  // Writes what is not zero and where; returns how many, or -count with every value where few are zero.
  int (*compress)(const float* in, int count, float* values, uint8_t* indices);
  // One row of a panel each; pointers are to its first column. `h` is the state one step earlier.
  void (*clipped)(const float* sums, const float* x, const float* bias, float limit, int count, float* state);
  void (*gates)(const float* sums, const float* x, const float* bias, int count, float* gate);
  void (*reset_state)(const float* reset, const float* h, int count, float* product);
  void (*gated)(const float* sums, const float* x, const float* bias, const float* update, const float* h, int count,
                float* candidate, float* state);
  void (*clipped_error)(const float* sums, const float* grad, const float* state, float limit, int count, float* error);
  // carried: in, the error from the next step; out, what goes on to the step before, without products.
  void (*gated_error)(const float* grad, const float* update, const float* candidate, const float* h, int count,
                      float* carried, float* update_error, float* candidate_error);
  void (*reset_error)(const float* sums, const float* reset, const float* h, int count, float* carried,
                      float* reset_error);
};

// The best set this processor runs; DEEPSPEECH2_SIMD=portable|avx2|avx512 forces one. Throws std::invalid_argument.
const Kernels& kernels();

}  // namespace recurrence
