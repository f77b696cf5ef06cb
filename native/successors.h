// What the words a language model lists behind a context promise an unfinished word: look-ahead in context.
#pragma once

#include <cstdint>
#include <vector>

#include "lexicon.h"
#include "ngram.h"

namespace ctc {

// The n-grams of a model once more, those of a context together and in the order of the lexicon, so that the words
// that go through one of its nodes lie side by side.
class Successors {
 public:
  // model_word: by word of the lexicon, kUnknownWord for one the model does not know.
  Successors(const Ngram& model, const Lexicon& lexicon, const std::vector<uint32_t>& model_word);

  // Over the words through a node of the lexicon: the largest log10 probability of those listed behind the state, or
  // with backoff behind a shorter context, -inf if there is none; and the backoff of any other word, on top of its unigram.
  struct Best {
    float listed, backoff;
  };
  Best best(uint32_t state, uint32_t node) const;
  // What best() cannot exceed, whatever it is asked.
  Best most() const { return most_; }

 private:
  // One load from memory each: nearly every query is about another state.
  struct Context {
    uint32_t first, suffix;
    float backoff;
  };
  struct Listed {
    uint32_t node;  // where the word ends in the lexicon
    float log10;
  };
  float largest(size_t first, size_t last) const;

  Best most_;
  std::vector<uint32_t> subtree_end_;  // by node of the lexicon: one past the last node of its words
  std::vector<Context> contexts_;      // by state, and one behind the last
  std::vector<Listed> listed_;         // for each state in turn, by node
  std::vector<float> blocks_;          // the largest of each kBlock of them
};

}  // namespace ctc
