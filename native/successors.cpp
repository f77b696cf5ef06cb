#include "successors.h"

#include <algorithm>
#include <limits>

namespace ctc {

namespace {

constexpr size_t kBlock = 32;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

}  // namespace

Successors::Successors(const Ngram& model, const Lexicon& lexicon, const std::vector<uint32_t>& model_word)
    : subtree_end_(lexicon.subtree_ends()), contexts_(model.states() + size_t{1}, Context{0, 0, 0.0f}) {
  std::vector<uint32_t> end_of(model.words(), kOutside);  // by word of the model
  for (uint32_t node = 0; node < lexicon.size(); ++node) {
    const uint32_t word = lexicon.word(node);
    if (word != kNoWord && model_word[word] != kUnknownWord) end_of[model_word[word]] = node;
  }
  const auto each = [&](auto&& take) {
    model.each_entry([&](const NgramEntry& entry) {
      if (end_of[entry.word] != kOutside) take(entry, end_of[entry.word]);
    });
  };
  // Counted, then each put in its place: `first` runs from where a state's begin to where they end.
  uint32_t count = 0;
  each([&](const NgramEntry& entry, uint32_t) { ++contexts_[entry.state].first; });
  for (uint32_t state = 0; state <= model.states(); ++state) {
    const uint32_t here = contexts_[state].first;
    contexts_[state].first = count;
    count += here;
    if (state == model.states()) break;
    contexts_[state].suffix = model.suffix(state);
    contexts_[state].backoff = model.backoff(state);
  }
  listed_.resize(count);
  std::vector<uint32_t> next;
  for (const Context& context : contexts_) next.push_back(context.first);
  each([&](const NgramEntry& entry, uint32_t node) { listed_[next[entry.state]++] = {node, entry.log10}; });
  for (size_t state = 0; state < model.states(); ++state)
    std::sort(listed_.begin() + contexts_[state].first, listed_.begin() + contexts_[state + 1].first,
              [](const Listed& a, const Listed& b) { return a.node < b.node; });
  most_ = {kNothing, 0.0f};
  for (const Context& context : contexts_) most_.backoff = std::max(most_.backoff, context.backoff);
  most_.backoff *= static_cast<float>(model.order());
  for (const Listed& one : listed_) most_.listed = std::max(most_.listed, one.log10 + most_.backoff);
  blocks_.assign(listed_.size() / kBlock + 1, kNothing);
  for (size_t i = 0; i < listed_.size(); ++i) blocks_[i / kBlock] = std::max(blocks_[i / kBlock], listed_[i].log10);
}

Successors::Best Successors::best(uint32_t state, uint32_t node) const {
  const uint32_t stop = subtree_end_[node];
  const auto before = [](const Listed& listed, uint32_t wanted) { return listed.node < wanted; };
  Best best{kNothing, 0.0f};
  while (state) {
    const Context& context = contexts_[state];
    const Listed* const end = listed_.data() + contexts_[state + 1].first;
    const Listed* const from = std::lower_bound(listed_.data() + context.first, end, node, before);
    // The words through a node are few as a rule, so look near first.
    std::ptrdiff_t reach = 1;
    while (reach < end - from && from[reach].node < stop) reach *= 2;
    const Listed* const to = std::lower_bound(from, from + std::min(reach, end - from), stop, before);
    if (from != to)
      best.listed = std::max(best.listed, best.backoff + largest(static_cast<size_t>(from - listed_.data()),
                                                                 static_cast<size_t>(to - listed_.data())));
    best.backoff += context.backoff;
    state = context.suffix;
  }
  return best;
}

float Successors::largest(size_t first, size_t last) const {
  float best = kNothing;
  while (first < last) {
    const bool whole = first % kBlock == 0 && last - first >= kBlock;
    best = std::max(best, whole ? blocks_[first / kBlock] : listed_[first].log10);
    first += whole ? kBlock : 1;
  }
  return best;
}

}  // namespace ctc
