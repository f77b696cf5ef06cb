// What the language model and hot words add to a prefix. The Python twin is src/deepspeech2/ctc/scoring.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "language.h"
#include "lexicon.h"
#include "ngram.h"
#include "successors.h"

namespace ctc {

constexpr double kLn10 = 2.302585092994046;
constexpr double kBaiduUnknown = -1000.0;

enum class Unit { none, word, label };
enum class Compat { none, python, baidu };

struct Options {
  int beam_size = 500, n_best = 10, cutoff_top_n = 40;
  double alpha = 2.5, beta = 0.3, cutoff_prob = 1.0, beam_threshold = 600.0, unknown_penalty = 10.0;
  bool score_end = false, lookahead = false, recombine = false;
  Compat compat = Compat::none;
};

// What stays the same over all decodes of a decoder.
struct Task {
  int columns = 0, blank = 0, delimiter = -1;
  Unit unit = Unit::none;
  bool has_model = false;
  bool closed = false;
  // Whether delimiters behind a delimiter, or first of all, belong to the prefix as it is: a closed vocabulary has no
  // empty word.
  bool pauses = false;
  bool word_starts = false;               // words begin at labels marked with U+2581
  std::vector<int32_t> silent;            // columns of labels that are never entered
  std::vector<std::string> spelling;      // by column
  std::shared_ptr<const Lexicon> lexicon;  // unit word
  // By word of the lexicon (unit word) or by column (unit label).
  std::vector<uint32_t> model_word;
  std::vector<uint8_t> known;
  std::vector<double> bonus;
  std::vector<double> unigram;  // log10, for look-ahead
  double largest_log10 = 0.0;   // of any word in any context
  std::shared_ptr<const Ngram> model;  // null for one in Python
  // Made when first asked for, under the interpreter lock.
  std::shared_ptr<const Successors> successors() const {
    if (!made_) made_ = std::make_shared<const Successors>(*model, *lexicon, model_word);
    return made_;
  }

 private:
  mutable std::shared_ptr<const Successors> made_;
};

// What depends on the options.
struct Weights {
  Options options;
  double largest_factor = 1.0;      // no entry multiplies by more, look-ahead aside
  std::vector<double> ahead;        // by lexicon node, without context; empty without look-ahead
  std::vector<double> step;         // exp(ahead[node] - ahead[its parent]) where the lexicon is a tree
  // For look-ahead in context, null without: log10 probabilities, and what makes them comparable to `ahead`.
  std::shared_ptr<const Successors> successors;
  double scale = 0.0, any_word = 0.0;
  double largest_delimiter = 1.0;   // no delimiter multiplies by more, look-ahead included
};

inline double weigh(const Options& o, double log10, uint32_t words, bool known) {
  switch (o.compat) {
    case Compat::python:
      return o.alpha * kLn10 * log10 + o.beta * std::log(static_cast<double>(words));
    case Compat::baidu:
      return o.alpha * (known ? log10 : kBaiduUnknown) + o.beta;
    default:
      return o.alpha * kLn10 * log10 + o.beta - (known ? 0.0 : o.unknown_penalty);
  }
}

// What an entry multiplies by. What would take a prefix below the arithmetic's range is not entered at all; what would
// take one above it ends the search.
constexpr double kRange = 600.0;
inline double factor_of(double added) {
  if (added > kRange) return std::numeric_limits<double>::infinity();
  return added == 0.0 ? 1.0 : added < -kRange ? 0.0 : std::exp(added);
}

// Throws std::invalid_argument where a word could add more than kRange.
std::shared_ptr<const Weights> make_weights(const Task& task, const Options& options);

}  // namespace ctc
