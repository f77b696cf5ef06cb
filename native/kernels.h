// The inner loops of the search, compiled once for each instruction set and chosen when the module is loaded.
// They work on plain arrays and use nothing of the standard library: a template instantiated under wider
// instructions could otherwise be the copy the linker keeps for everyone.
#pragma once

#include <cstdint>

namespace ctc {

// Arrays are padded to this many elements, so that a loop may run to the end of its last vector.
constexpr int kPadding = 16;

// One frame's worth of `stay`: what every prefix in the beam becomes when it is not extended.
struct StayFrame {
  int count;                  // prefixes in the beam
  int32_t frame;              // index of this frame
  double blank_probability;
  const double* probability;  // by column
  const double* mass;         // [total | blank], `stride` apart; entry `empty slot` is 0 in both
  const double* label;
  const int32_t* last;           // last column of the prefix
  const int32_t* slot_of_node;   // where a node is in the beam, the empty slot if it is not
  const int32_t* parent;         // node of the prefix without its last label
  const int32_t* source_offset;  // 0, or `stride` where the last label repeats the one before it
  const double* factor;          // what the language model multiplies on entry from the parent; null: 1
  const int32_t* end;
  double* new_total;
  double* new_blank;
  double* new_label;
  int32_t* new_end;
  int32_t* entered;     // out: slots whose alignments now mostly come in from the parent
  int32_t* merged;      // out: how many had a parent in the beam that reached them (one number)
};

struct Kernels {
  const char* name;
  // out[i] = exp(in[i]), 0 below -708; returns the sum (nan or inf if an input was). Writes up to the next multiple of 8.
  double (*exp_float)(const float* in, int count, double* out);
  double (*exp_double)(const double* in, int count, double* out);
  // Returns how many slots were written to `entered`.
  int (*stay)(const StayFrame&);
  void (*range)(const double* values, int count, double* smallest, double* largest);
  // Appends the slots whose total * probability exceeds the threshold, unless bit `bit` of `blocked` is set.
  int (*extend)(const double* total, const double* blank, const int32_t* last, const uint64_t* blocked, uint64_t bit,
                int count, int32_t column, double probability, double threshold, double* out_value, int32_t* out_slot);
  // The rank-th largest of the values (1 = largest); scratch: 3 * (count + padding).
  double (*select)(const double* values, int count, int rank, double* scratch);
  // Slots whose value is at least the threshold, ascending.
  int (*reaching)(const double* values, int count, double threshold, int32_t* out_slot);
  // Slots whose value is below the threshold, ascending.
  int (*below)(const double* values, int count, double threshold, int32_t* out_slot);
};


// The best set this processor runs; DEEPSPEECH2_SIMD=portable|avx2|avx512 forces one. Throws std::invalid_argument.
const Kernels& kernels();

}  // namespace ctc
