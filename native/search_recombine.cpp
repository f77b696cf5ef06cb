#include <utility>

#include "search.h"

namespace ctc {

// Recombination: of everything that has the same future, stays and candidates alike, the best is left.
void Search::begin_futures() {
  size_t size = 256;
  while (size < 8 * static_cast<size_t>(options_.beam_size)) size *= 2;
  futures_.assign(size, Future{0, 0, kFree, 0});
  futures_used_ = 0;
  for (int slot = 0; slot < count_; ++slot) {
    const uint32_t node = static_cast<uint32_t>(node_[static_cast<size_t>(slot)]);
    const NodeLanguage& language = trie_.language(node);
    if (language.lexeme == kOutside) continue;
    futures_[find_future(language.state, language.lexeme, trie_[node].column)].holder = slot;
  }
}

size_t Search::find_future(uint32_t state, uint32_t lexeme, int32_t column) {
  uint64_t hash = (uint64_t{state} << 32 | lexeme) * 0x9E3779B97F4A7C15u + static_cast<uint32_t>(column);
  for (hash ^= hash >> 32;; ++hash) {
    Future& future = futures_[hash & (futures_.size() - 1)];
    if (future.holder == kFree) {
      future = {state, lexeme, kGone, column};
      ++futures_used_;
    }
    if (future.state == state && future.lexeme == lexeme && future.column == column) return hash & (futures_.size() - 1);
  }
}

void Search::grow_futures() {
  std::vector<Future> old(2 * futures_.size(), Future{0, 0, kFree, 0});
  old.swap(futures_);
  futures_used_ = 0;
  for (const Future& future : old) {
    if (future.holder < 0) continue;
    const size_t place = find_future(future.state, future.lexeme, future.column);
    futures_[place].holder = future.holder;
    if (future.holder >= count_) candidate_future_[static_cast<size_t>(future.holder - count_)] = static_cast<int32_t>(place);
  }
}

// Whether a candidate is to be added; one that beats another candidate takes its place, and one that beats a prefix in
// the beam puts it out.
bool Search::take_future(int32_t slot, int column, double value) {
  int32_t& place = candidate_future_[static_cast<size_t>(candidates_)];
  place = -1;
  const NodeLanguage& parent = trie_.language(static_cast<uint32_t>(node_[static_cast<size_t>(slot)]));
  uint32_t state = parent.state, lexeme = parent.lexeme;
  if (task_->unit == Unit::label) {
    state = entered_state_;
  } else if (column != task_->delimiter) {
    lexeme = lexeme == kOutside ? kOutside : task_->lexicon->child(lexeme, column);
    if (lexeme == kOutside) return true;
  } else if (lexeme != Lexicon::root()) {
    state = parent.word_end_state;
    lexeme = Lexicon::root();
  }
  if (futures_used_ * 2 > futures_.size()) grow_futures();
  place = static_cast<int32_t>(find_future(state, lexeme, column));
  Future& future = futures_[static_cast<size_t>(place)];
  const int32_t holder = future.holder;
  double* values = new_mass_.data();
  if (holder != kGone && !(value > values[holder])) return false;
  if (holder != kGone && holder >= count_) {
    values[holder] = value;
    candidate_slot_[static_cast<size_t>(holder - count_)] = slot;
    candidate_column_[static_cast<size_t>(holder - count_)] = column;
    return false;
  }
  if (holder != kGone) values[holder] = 0.0;
  future.holder = count_ + candidates_;
  return true;
}

void Search::move_future(int from, int to) {
  const int32_t place = candidate_future_[static_cast<size_t>(from)];
  if (to >= 0) candidate_future_[static_cast<size_t>(to)] = place;
  if (place >= 0) futures_[static_cast<size_t>(place)].holder = to >= 0 ? count_ + to : kGone;
}

}  // namespace ctc
