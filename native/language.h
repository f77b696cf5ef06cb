// What the search asks of a language model.
#pragma once

#include <cstdint>

namespace ctc {

constexpr uint32_t kUnknownWord = 0xFFFFFFFFu;

struct Scored {
  double log10;
  uint32_t state;
};

// One decode's view of a language model. States are numbers of the model's or the session's making.
class Language {
 public:
  virtual ~Language() = default;
  virtual uint32_t begin() = 0;                              // after <s>
  virtual Scored score(uint32_t state, uint32_t word) = 0;   // kUnknownWord: <unk>
  virtual double score_end(uint32_t state) = 0;              // </s>
};

}  // namespace ctc
