// What the search asks of a language model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
  // Only these states, ascending, will be asked about from now on, and those that follow them.
  virtual void keep(const std::vector<uint32_t>&) {}
  virtual size_t memory() const { return 0; }  // bytes held for this decode
};

}  // namespace ctc
