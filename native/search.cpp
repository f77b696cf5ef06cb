#include "search.h"

#include <algorithm>
#include <cmath>

namespace ctc {

namespace {

constexpr double kSumTolerance = 0.02;
constexpr double kCutoffSlack = 1e-9;
constexpr double kSmallest = 1e-305;  // a prefix below is as good as impossible
constexpr int kFirstRanked = 64;      // columns looked at first for the mass of a cut-off
constexpr int kAhead = 4;             // candidates looked ahead for what they will need from memory
constexpr uint32_t kFirstCollection = 32768;

int slack(int beam_size) { return std::max(beam_size / 4, 32); }

// The most probable columns first, equal ones in their order.
void sort_columns(int32_t* columns, int count, const double* probability) {
  std::sort(columns, columns + count, [probability](int32_t a, int32_t b) {
    const double x = probability[a], y = probability[b];
    return x != y ? x > y : a < b;
  });
}

}  // namespace

Search::Search(std::shared_ptr<const Task> task, std::unique_ptr<Language> language)
    : task_(std::move(task)), language_(std::move(language)), kernels_(kernels()) {
  const size_t columns = static_cast<size_t>(task_->columns) + kPadding;
  for (auto* values : {&probability_, &cut_}) values->resize(columns);
  for (auto* chosen : {&kept_, &extensions_}) chosen->resize(columns);
}

void Search::reserve(int beam_size) {
  if (beam_size <= capacity_) return;
  capacity_ = beam_size;
  // Pruning leaves at most a beam of candidates; slack() more make it prune again, after one more symbol at most.
  const int room = 2 * capacity_ + slack(capacity_) + 2 * kPadding;
  stride_ = capacity_ + room + 2 * kPadding;
  const size_t slots = static_cast<size_t>(capacity_) + kPadding, stride = static_cast<size_t>(stride_);
  for (auto* values : {&mass_, &new_mass_}) values->assign(2 * stride, 0.0);
  for (auto* values : {&label_, &new_label_}) values->assign(slots, 0.0);
  for (auto* values : {&last_, &parent_, &source_offset_, &end_, &new_end_, &node_, &entered_}) values->assign(slots, 0);
  losers_.assign(slots, 0);
  factor_.assign(slots, 1.0);
  blocked_.assign(slots, 0);
  record_.assign(slots, kNone);
  for (auto* values : {&candidate_slot_, &candidate_column_, &candidate_future_})
    values->assign(static_cast<size_t>(room), 0);
  scratch_.resize(3 * (std::max(stride, probability_.size()) + kPadding));
}

void Search::restart(const Options& options, std::shared_ptr<const Weights> weights) {
  options_ = options;
  recombining_ = options.recombine && task_->has_model;
  if (weights->successors && weights != weights_) promises_.assign(size_t{1} << kPromiseBits, Promise{0, 0.0});
  weights_ = std::move(weights);
  word_end_column_ = task_->unit == Unit::word ? task_->delimiter : -1;
  bound_of_word_end_ = weights_->largest_delimiter;
  bound_of_letter_ = task_->unit == Unit::label ? weights_->largest_factor : 1.0;
  reserve(options.beam_size);
  tally_ = {};
  trie_.restart(task_->columns, stride_ - 1, task_->unit != Unit::none);
  records_.restart();
  frame_ = 0;
  shift_ = 0;
  live_ = 0;
  largest_ = 1.0;
  count_ = 1;
  // Lanes behind the beam are read, never used; they must only point at something.
  std::fill(parent_.begin(), parent_.end(), 0);
  std::fill(last_.begin(), last_.end(), task_->columns);
  std::fill(source_offset_.begin(), source_offset_.end(), 0);
  mass_[0] = 1.0;
  mass_[static_cast<size_t>(stride_)] = 1.0;
  label_[0] = 0.0;
  end_[0] = 0;
  node_[0] = 0;
  record_[0] = kNone;
  factor_[0] = 1.0;
  trie_.slots()[0] = 0;
  if (task_->has_model) {
    NodeLanguage& language = trie_.language(0);
    language.state = language_->begin();
    language.ahead = ahead(language.state, Lexicon::root());
    largest_ = mass_[0] = mass_[static_cast<size_t>(stride_)] = std::exp(language.ahead);
  }
  blocked_[0] = blocked_of(0);
}

template <typename Number>
bool Search::normalised(const Number* row) {
  double sum;
  if constexpr (sizeof(Number) == 4)
    sum = kernels_.exp_float(row, task_->columns, probability_.data());
  else
    sum = kernels_.exp_double(row, task_->columns, probability_.data());
  return std::fabs(sum - 1.0) <= kSumTolerance;
}

template <typename Number>
RowFault Search::step(const Number* row) {
  if (!normalised(row)) return RowFault::not_normalised;
  probability_[static_cast<size_t>(task_->columns)] = 0.0;  // the root's last label
  return frame();
}

template bool Search::normalised(const float*);
template bool Search::normalised(const double*);
template RowFault Search::step(const float*);
template RowFault Search::step(const double*);

RowFault Search::frame() {
  const bool cut = options_.cutoff_prob < 1.0 || options_.cutoff_top_n < task_->columns;
  const double largest = largest_;
  const int64_t shift = shift_;
  if (cut) apply_cutoffs();
  in_play_ = cut ? cut_.data() : probability_.data();
  bool left = weigh_frame();
  if (cut && !left) {
    // What the cut-offs kept, the lexicon forbids: once more with every symbol. Nothing of the beam has changed yet.
    in_play_ = probability_.data();
    largest_ = largest;
    shift_ = shift;
    left = weigh_frame();
  }
  if (!left) return RowFault::no_prefix_left;
  if (std::isinf(largest_)) return RowFault::out_of_range;
  create();
  reenter();
  replace_losers();
  swap_buffers();
  let_pauses_last();
  if (trie_.size() + records_.size() > static_cast<uint32_t>(kFirstCollection) + 2 * live_) collect_garbage();
  ++frame_;
  ++tally_.frames;
  return RowFault::none;
}

// Behind a delimiter the next repeats it, whatever is between. (`stay` sees to those that come first of all.)
void Search::let_pauses_last() {
  if (!task_->pauses) return;
  for (int i = 0; i < count_; ++i) {
    const size_t s = static_cast<size_t>(i);
    label_[s] = last_[s] == task_->delimiter ? mass_[s] : label_[s];
  }
}

// What each prefix becomes and what is to be added; whether anything is left.
bool Search::weigh_frame() {
  for (const int32_t column : task_->silent) in_play_[column] = 0.0;  // nothing ends in one
  rescale();
  stay();
  extend();
  choose();
  return count_ - losers_count_ + candidates_ > 0 && largest_ > 0.0;
}

// Columns that the cut-offs leave out get probability 0, the blank and repeated labels included.
void Search::apply_cutoffs() {
  for (int i = 0; i < kept_count_; ++i) cut_[static_cast<size_t>(kept_[static_cast<size_t>(i)])] = 0.0;
  const int wanted = std::min(options_.cutoff_top_n, task_->columns);
  if (options_.cutoff_prob < 1.0)
    keep_mass(wanted);
  else
    keep_most_probable(wanted);
  for (int i = 0; i < kept_count_; ++i) {
    const size_t column = static_cast<size_t>(kept_[static_cast<size_t>(i)]);
    cut_[column] = probability_[column];
  }
}

// Ascending; of equally probable columns the first.
void Search::keep_most_probable(int wanted) {
  double least = 0.0;
  if (wanted < task_->columns) least = kernels_.select(probability_.data(), task_->columns, wanted, scratch_.data());
  kept_count_ = kernels_.reaching(probability_.data(), task_->columns, least, kept_.data());
  if (kept_count_ == wanted) return;
  const auto above = [&](int32_t column) { return probability_[static_cast<size_t>(column)] > least; };
  auto equals = wanted - std::count_if(kept_.begin(), kept_.begin() + kept_count_, above);
  const auto over = [&](int32_t column) { return !above(column) && equals-- <= 0; };
  kept_count_ = static_cast<int>(std::remove_if(kept_.begin(), kept_.begin() + kept_count_, over) - kept_.begin());
}

// The most probable first, up to the one that completes the mass asked for. Most often a few do, and only they need an
// order.
void Search::keep_mass(int wanted) {
  for (int rank = std::min(wanted, kFirstRanked);; rank = std::min(4 * rank, wanted)) {
    keep_most_probable(rank);
    sort_columns(kept_.data(), kept_count_, probability_.data());
    double total = 0.0;
    for (int i = 0; i < kept_count_; ++i) {
      total += probability_[static_cast<size_t>(kept_[static_cast<size_t>(i)])];
      if (total < options_.cutoff_prob - kCutoffSlack) continue;
      kept_count_ = i + 1;
      return;
    }
    if (rank == wanted) return;
  }
}

// Powers of two are exact, so following the beam down costs no accuracy.
void Search::rescale() {
  if (largest_ > 0x1p-100 && largest_ < 0x1p100) return;
  const int power = -std::ilogb(largest_);
  const double scale = std::ldexp(1.0, power);
  for (int column = 0; column < task_->columns; ++column) in_play_[column] *= scale;
  shift_ += power;
}

void Search::stay() {
  int32_t merged = 0;
  StayFrame f{};
  f.count = count_;
  f.frame = frame_;
  f.blank_probability = in_play_[task_->blank];
  f.probability = in_play_;
  f.mass = mass_.data();
  f.label = label_.data();
  f.last = last_.data();
  f.slot_of_node = trie_.slots().data();
  f.parent = parent_.data();
  f.source_offset = source_offset_.data();
  f.factor = task_->unit == Unit::none ? nullptr : factor_.data();
  f.end = end_.data();
  f.new_total = new_mass_.data();
  f.new_blank = new_mass_.data() + stride_;
  f.new_label = new_label_.data();
  f.new_end = new_end_.data();
  f.entered = entered_.data();
  f.merged = &merged;
  entered_count_ = kernels_.stay(f);
  tally_.merges += merged;
  const int32_t root = trie_.slot(0);
  if (!task_->pauses || root == stride_ - 1) return;
  const double pause = mass_[static_cast<size_t>(root)] * in_play_[task_->delimiter];
  new_label_[static_cast<size_t>(root)] += pause;
  new_mass_[static_cast<size_t>(root)] += pause;
}

void Search::extend() {
  double smallest, largest;
  kernels_.range(new_mass_.data(), count_, &smallest, &largest);
  const double before = largest_;
  largest_ = largest;
  candidates_ = 0;
  if (recombining_) begin_futures();
  const double reach = std::exp(-options_.beam_threshold);
  // A candidate must beat the worst of a full beam and come within reach of the best; both only grow from here.
  threshold_ = std::max(count_ >= options_.beam_size ? smallest : 0.0, largest * reach * (1 - 1e-12));
  const int chosen = choose_extensions(before);
  int pruned = 0;
  for (int i = 0; i < chosen; ++i) {
    const int32_t column = extensions_[static_cast<size_t>(i)];
    const double bound = bound_of(column);
    if (!(in_play_[column] * before * bound > threshold_)) continue;
    extend_by(column, bound);
    if (candidates_ - pruned > slack(options_.beam_size)) {
      prune();
      pruned = candidates_;
    }
  }
}

// Puts the columns that can lift a prefix of mass `before` over the threshold into `extensions_`, the most probable
// first; how many.
int Search::choose_extensions(double before) {
  int count = 0;
  const auto add_if_able = [&](int32_t column) {
    const double p = in_play_[column];
    if (p > 0.0 && column != task_->blank && p * before * bound_of(column) > threshold_)
      extensions_[static_cast<size_t>(count++)] = column;
  };
  if (in_play_ == cut_.data()) {
    for (int i = 0; i < kept_count_; ++i) add_if_able(kept_[static_cast<size_t>(i)]);
  } else {
    // A little lower than the bar proper, which stands above.
    const double bound = std::max(bound_of_letter_, word_end_column_ < 0 ? 0.0 : bound_of_word_end_);
    const double least = threshold_ / (before * bound) * (1 - 1e-9);
    const int able = kernels_.reaching(in_play_, task_->columns, least, extensions_.data());
    for (int i = 0; i < able; ++i) add_if_able(extensions_[static_cast<size_t>(i)]);
  }
  sort_columns(extensions_.data(), count, in_play_);
  return count;
}

void Search::extend_by(int column, double bound) {
  const bool wide = task_->columns > 64;
  const int base = count_ + candidates_;
  tally_.candidates += count_;
  const int found = kernels_.extend(
      mass_.data(), mass_.data() + stride_, last_.data(), wide ? nullptr : blocked_.data(),
      uint64_t{1} << (column & 63), count_, column, in_play_[column], threshold_ / bound,
      new_mass_.data() + base, candidate_slot_.data() + candidates_);
  const bool plain = task_->unit == Unit::none ||
                     (task_->unit == Unit::word && column != task_->delimiter && weights_->ahead.empty());
  if (wide || !plain || recombining_) {
    keep_useful(column, found);
    return;
  }
  std::fill_n(candidate_column_.begin() + candidates_, found, column);
  candidates_ += found;
}

// What the vectors could not check: children of wide alphabets, and the language model's factor.
void Search::keep_useful(int column, int found) {
  const bool wide = task_->columns > 64;
  double* values = new_mass_.data() + count_;
  const int first = candidates_;
  const auto language_of = [this](int i) -> const NodeLanguage& {
    return trie_.language(static_cast<uint32_t>(node_[static_cast<size_t>(candidate_slot_[static_cast<size_t>(i)])]));
  };
  for (int i = first; i < first + found; ++i) {
    const int32_t slot = candidate_slot_[static_cast<size_t>(i)];
    if (task_->unit != Unit::none && i + kAhead < first + found) __builtin_prefetch(&language_of(i + kAhead));
    if (wide) {
      const uint32_t node = static_cast<uint32_t>(node_[static_cast<size_t>(slot)]);
      const uint32_t child = trie_.find(node, column);
      if (child != kNone && trie_.slot(child) != stride_ - 1) continue;
      if (task_->closed && !allowed(trie_.language(node), column)) continue;
    }
    const double value = values[i] * entry_factor(slot, column);
    if (!(value > threshold_)) continue;
    if (recombining_ && !take_future(slot, column, value)) continue;
    values[candidates_] = value;
    candidate_slot_[static_cast<size_t>(candidates_)] = slot;
    candidate_column_[static_cast<size_t>(candidates_)] = column;
    ++candidates_;
  }
}

bool Search::allowed(const NodeLanguage& node, int column) const {
  if (column == task_->delimiter) return node.lexeme != Lexicon::root() && task_->lexicon->word(node.lexeme) != kNoWord;
  return task_->lexicon->child(node.lexeme, column) != kOutside;
}

double Search::entry_factor(int32_t slot, int column) {
  if (task_->unit == Unit::none) return 1.0;
  NodeLanguage& node = trie_.language(static_cast<uint32_t>(node_[static_cast<size_t>(slot)]));
  if (task_->unit == Unit::label) {
    const size_t c = static_cast<size_t>(column);
    const Scored scored = ask(node.state, task_->model_word[c]);
    entered_state_ = scored.state;
    return factor_of(weigh(options_, scored.log10, node.words + 1, task_->known[c] != 0));
  }
  if (column == task_->delimiter) {
    if (node.lexeme == Lexicon::root()) return 1.0;
    end_word(node);
    return node.word_end_factor;
  }
  if (weights_->ahead.empty()) return 1.0;
  const uint32_t child = task_->lexicon->child(node.lexeme, column);
  if (!weights_->successors && !weights_->step.empty()) return weights_->step[child];
  return factor_of(ahead(node.state, child) - node.ahead);
}

// Leaves the best beam_size of stays and candidates in play. Of equals the earlier stay: prefixes already in the
// beam, then candidates in the order they were made.
void Search::prune() {
  const int all = count_ + candidates_;
  if (all <= options_.beam_size) return;
  const double least = kernels_.select(new_mass_.data(), all, options_.beam_size, scratch_.data());
  const int staying = count_ - kernels_.below(new_mass_.data(), count_, least, losers_.data());
  keep_candidates(least);
  int excess = staying + candidates_ - options_.beam_size;
  if (excess > 0) drop_equals(least, excess);
  threshold_ = std::max(threshold_, least);
}

void Search::keep_candidates(double least) {
  double* values = new_mass_.data() + count_;
  int kept = 0;
  for (int i = 0; i < candidates_; ++i) {
    const double value = values[i];
    values[kept] = value;
    candidate_slot_[static_cast<size_t>(kept)] = candidate_slot_[static_cast<size_t>(i)];
    candidate_column_[static_cast<size_t>(kept)] = candidate_column_[static_cast<size_t>(i)];
    if (recombining_) move_future(i, value >= least ? kept : -1);
    kept += value >= least;
  }
  candidates_ = kept;
}

void Search::drop_equals(double least, int excess) {
  double* values = new_mass_.data() + count_;
  int equals = 0;
  for (int i = 0; i < candidates_; ++i) equals += values[i] == least;
  int spare = std::max(equals - excess, 0);  // candidates equal to the least that may stay
  int kept = 0;
  for (int i = 0; i < candidates_; ++i) {
    const bool stays = values[i] != least || spare-- > 0;
    if (recombining_) move_future(i, stays ? kept : -1);
    if (!stays) continue;
    values[kept] = values[i];
    candidate_slot_[static_cast<size_t>(kept)] = candidate_slot_[static_cast<size_t>(i)];
    candidate_column_[static_cast<size_t>(kept)] = candidate_column_[static_cast<size_t>(i)];
    ++kept;
  }
  candidates_ = kept;
}

void Search::choose() {
  prune();
  const double* values = new_mass_.data();
  for (int i = count_; i < count_ + candidates_; ++i) largest_ = std::max(largest_, values[i]);
  const double floor = std::max(largest_ * std::exp(-options_.beam_threshold), kSmallest);
  double least = count_ + candidates_ >= options_.beam_size ? threshold_ : 0.0;
  if (floor > least) {
    least = floor;
    keep_candidates(floor);
  }
  least_ = least;
  losers_count_ = kernels_.below(values, count_, least, losers_.data());
  // Stays that tie at the edge of the beam: the later slots go.
  int excess = count_ - losers_count_ + candidates_ - options_.beam_size;
  for (int32_t slot = count_ - 1; slot >= 0 && excess > 0; --slot) {
    if (values[slot] != least) continue;
    losers_[static_cast<size_t>(losers_count_++)] = slot;
    --excess;
  }
}

}  // namespace ctc
