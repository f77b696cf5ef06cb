// What changes in the beam after a frame: who comes, who goes, and what is forgotten.
#include <algorithm>

#include "search.h"

namespace ctc {

void Search::create() {
  newcomers_.clear();
  newcomers_.reserve(static_cast<size_t>(candidates_));
  trie_.reserve(static_cast<size_t>(candidates_));
  records_.reserve(static_cast<size_t>(candidates_ + entered_count_));
  const double* values = new_mass_.data() + count_;
  for (int i = 0; i < candidates_; ++i) {
    const size_t slot = static_cast<size_t>(candidate_slot_[static_cast<size_t>(i)]);
    const int column = candidate_column_[static_cast<size_t>(i)];
    const uint32_t parent = static_cast<uint32_t>(node_[slot]);
    uint32_t child = trie_.find(parent, column);
    if (child == kNone) {
      child = trie_.add(parent, column);
      if (task_->unit != Unit::none) enter_language(trie_.language(child), trie_.language(parent), column);
    }
    newcomers_.emplace_back();
    Newcomer& newcomer = newcomers_.back();
    newcomer.value = values[i];
    newcomer.node = child;
    newcomer.record = note(slot, child, column, values[i]);
  }
  tally_.created += candidates_;
}

uint32_t Search::note(size_t source, uint32_t node, int column, double mass) {
  if (task_->unit != Unit::none) {
    const NodeLanguage& entered = trie_.language(node);
    records_.add_language({entered.total, entered.ahead});
  }
  const uint32_t number = records_.size();
  Record& record = records_.add();
  record.before = record_[source];
  record.column = column;
  record.start = frame_;
  record.end_before = end_[source];
  record.mass = mass;
  record.shift = static_cast<int32_t>(shift_);
  return number;
}

// Prefixes that are now mostly reached by a new way in get the times of that way.
void Search::reenter() {
  reentries_.clear();
  for (int i = 0; i < entered_count_; ++i) {
    const int32_t slot = entered_[static_cast<size_t>(i)];
    const size_t s = static_cast<size_t>(slot);
    if (new_mass_[s] < least_) continue;
    const size_t source = static_cast<size_t>(trie_.slot(static_cast<uint32_t>(parent_[s])));
    double mass = mass_[source + static_cast<size_t>(source_offset_[s])] * in_play_[last_[s]];
    if (task_->unit != Unit::none) mass *= factor_[s];
    reentries_.emplace_back(slot, note(source, static_cast<uint32_t>(node_[s]), last_[s], mass));
  }
  for (const auto& [slot, record] : reentries_) record_[static_cast<size_t>(slot)] = record;
}

void Search::replace_losers() {
  // Ascending already, unless ties or recombination added some.
  if (!std::is_sorted(losers_.begin(), losers_.begin() + losers_count_))
    std::sort(losers_.begin(), losers_.begin() + losers_count_);
  for (int i = 0; i < losers_count_; ++i) drop(losers_[static_cast<size_t>(i)]);
  int filled = 0;
  new_count_ = count_;
  for (const Newcomer& newcomer : newcomers_)
    place(newcomer, filled < losers_count_ ? losers_[static_cast<size_t>(filled++)] : new_count_++);
  for (int i = losers_count_ - 1; i >= filled; --i) {
    const int32_t hole = losers_[static_cast<size_t>(i)];
    if (--new_count_ != hole) move(new_count_, hole);
  }
}

uint64_t Search::blocked_of(uint32_t node) const {
  const uint64_t taken = trie_[node].children_in_beam;
  return task_->closed ? ~task_->lexicon->mask(trie_.language(node).lexeme) | taken : taken;
}

void Search::drop(int32_t slot) {
  const uint32_t node = static_cast<uint32_t>(node_[static_cast<size_t>(slot)]);
  trie_.slots()[node] = stride_ - 1;
  const uint32_t parent = trie_[node].parent;
  if (parent == kNone) return;
  const uint64_t bit = uint64_t{1} << (trie_[node].column & 63);
  trie_[parent].children_in_beam &= ~bit;
  const int32_t above = trie_.slot(parent);
  if (above != stride_ - 1) blocked_[static_cast<size_t>(above)] &= ~bit;
}

void Search::place(const Newcomer& newcomer, int32_t slot) {
  const size_t s = static_cast<size_t>(slot);
  const Node& node = trie_[newcomer.node];
  Node& parent = trie_[node.parent];
  const uint64_t bit = uint64_t{1} << (node.column & 63);
  parent.children_in_beam |= bit;
  const int32_t above = trie_.slot(node.parent);
  if (above != stride_ - 1) blocked_[static_cast<size_t>(above)] |= bit;
  trie_.slots()[newcomer.node] = slot;
  new_mass_[s] = new_label_[s] = newcomer.value;
  new_mass_[s + static_cast<size_t>(stride_)] = 0.0;
  new_end_[s] = frame_ + 1;
  last_[s] = node.column;
  parent_[s] = static_cast<int32_t>(node.parent);
  source_offset_[s] = node.column == parent.column ? stride_ : 0;
  node_[s] = static_cast<int32_t>(newcomer.node);
  blocked_[s] = blocked_of(newcomer.node);
  record_[s] = newcomer.record;
  if (task_->unit == Unit::none) return;
  const NodeLanguage &now = trie_.language(newcomer.node), &before = trie_.language(node.parent);
  factor_[s] = factor_of(now.total - before.total + (now.ahead - before.ahead));
}

void Search::move(int32_t from, int32_t to) {
  const size_t f = static_cast<size_t>(from), t = static_cast<size_t>(to), stride = static_cast<size_t>(stride_);
  trie_.slots()[static_cast<uint32_t>(node_[f])] = to;
  new_mass_[t] = new_mass_[f];
  new_mass_[t + stride] = new_mass_[f + stride];
  new_label_[t] = new_label_[f];
  new_end_[t] = new_end_[f];
  last_[t] = last_[f];
  parent_[t] = parent_[f];
  source_offset_[t] = source_offset_[f];
  node_[t] = node_[f];
  blocked_[t] = blocked_[f];
  record_[t] = record_[f];
  factor_[t] = factor_[f];
}

void Search::swap_buffers() {
  mass_.swap(new_mass_);
  label_.swap(new_label_);
  end_.swap(new_end_);
  count_ = new_count_;
}

// Keeps the prefixes in the beam and those they begin with.
void Search::collect_garbage() {
  node_map_.assign(trie_.size(), 0);
  record_map_.assign(records_.size(), 0);
  for (size_t s = 0; s < static_cast<size_t>(count_); ++s) {
    node_map_[static_cast<uint32_t>(node_[s])] = 1;
    if (record_[s] != kNone) record_map_[record_[s]] = 1;
  }
  node_map_[0] = 1;
  trie_.compact(node_map_);
  records_.compact(record_map_);
  std::fill(parent_.begin(), parent_.end(), 0);
  for (size_t s = 0; s < static_cast<size_t>(count_); ++s) {
    const uint32_t node = node_map_[static_cast<uint32_t>(node_[s])];
    node_[s] = static_cast<int32_t>(node);
    parent_[s] = trie_[node].parent == kNone ? 0 : static_cast<int32_t>(trie_[node].parent);
    if (record_[s] != kNone) record_[s] = record_map_[record_[s]];
  }
  live_ = trie_.size() + records_.size();
  if (task_->has_model) forget_states();
}

// The language model is asked about prefixes in the beam and, once they are back, about those that begin with one.
void Search::forget_states() {
  states_.clear();
  for (uint32_t node = 0; node < trie_.size(); ++node) {
    const uint32_t parent = trie_[node].parent;  // its number is lower
    const bool reachable = trie_.slot(node) != stride_ - 1 || (parent != kNone && node_map_[parent]);
    node_map_[node] = reachable;
    if (!reachable) continue;
    const NodeLanguage& language = trie_.language(node);
    states_.push_back(language.state);
    if (language.word_end_state != kNone) states_.push_back(language.word_end_state);
  }
  std::sort(states_.begin(), states_.end());
  states_.erase(std::unique(states_.begin(), states_.end()), states_.end());
  language_->keep(states_);
}

size_t Search::memory() const {
  return trie_.memory() + records_.memory() + 2 * mass_.capacity() * sizeof(double) + (language_ ? language_->memory() : 0);
}

}  // namespace ctc
