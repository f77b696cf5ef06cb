// What the search does with the language model, and how it ends.
#include <algorithm>
#include <cmath>

#include "search.h"

namespace ctc {

namespace {
constexpr double kLn2 = 0.6931471805599453;
}  // namespace

Scored Search::ask(uint32_t state, uint32_t word) {
  ++tally_.lookups;
  return language_->score(state, word);
}

// What ending the unfinished word adds; asked once for each prefix.
void Search::end_word(NodeLanguage& node) {
  if (node.word_end_state != kNone) {
    // Asked while peeking: what the search would have asked counts when it needs it.
    if (!node.word_end_counted && task_->has_model) ++tally_.lookups;
    if (!peeking_) node.word_end_counted = 1;
    return;
  }
  node.word_end_counted = peeking_ ? 0 : 1;
  const uint32_t word = node.lexeme == kOutside ? kNoWord : task_->lexicon->word(node.lexeme);
  double added = word == kNoWord ? 0.0 : task_->bonus[word];
  uint32_t state = 0;
  if (task_->has_model) {
    const bool known = word != kNoWord && task_->known[word];
    const Scored scored = ask(node.state, known ? task_->model_word[word] : kUnknownWord);
    added += weigh(options_, scored.log10, node.words, known);
    state = scored.state;
  }
  node.word_end = added;
  node.word_end_factor = factor_of(added - node.ahead + ahead(state, Lexicon::root()));
  node.word_end_state = state;
}

void Search::enter_language(NodeLanguage& child, NodeLanguage& parent, int column) {
  child.lexeme = parent.lexeme;
  child.state = parent.state;
  child.total = parent.total;
  child.words = parent.words;
  if (task_->unit == Unit::label) {
    const size_t c = static_cast<size_t>(column);
    const Scored scored = ask(parent.state, task_->model_word[c]);
    child.words = parent.words + 1;
    child.state = scored.state;
    child.total += weigh(options_, scored.log10, child.words, task_->known[c] != 0);
  } else if (column != task_->delimiter) {
    child.words = std::max<uint32_t>(parent.words, 1u);
    child.lexeme = parent.lexeme == kOutside ? kOutside : task_->lexicon->child(parent.lexeme, column);
    child.ahead = ahead(child.state, child.lexeme);
  } else if (parent.lexeme == Lexicon::root()) {
    child.words += parent.words > 0;
    child.ahead = parent.ahead;
  } else {
    end_word(parent);
    child.lexeme = Lexicon::root();
    child.state = parent.word_end_state;
    child.total += parent.word_end;
    child.words = parent.words + 1;
    child.ahead = ahead(child.state, child.lexeme);
  }
}

// What ranks an unfinished word: the most probable word it can become, in its context where the model can tell. The
// beginning of a word can become the most of all, so letters add nothing.
double Search::ahead(uint32_t state, uint32_t lexeme) {
  if (weights_->ahead.empty() || lexeme == kOutside) return 0.0;
  if (!weights_->successors) return weights_->ahead[lexeme];
  const uint64_t key = (uint64_t{state} << 32 | lexeme) + 1;
  Promise& promise = promises_[(key * 0x9E3779B97F4A7C15u) >> (64 - kPromiseBits)];
  if (promise.key != key) {
    const auto best = weights_->successors->best(state, lexeme);
    promise = {key, weights_->ahead[lexeme] + weights_->scale * static_cast<double>(best.backoff)};
    // Where nothing is listed, an alpha of 0 must not make something of it.
    if (std::isfinite(best.listed))
      promise.ahead =
          std::max(promise.ahead, weights_->scale * static_cast<double>(best.listed) - weights_->any_word);
  }
  return promise.ahead;
}

// The language score of a prefix at the end of the audio, and whether its last word is a whole one.
double Search::finish_language(uint32_t index, bool* whole) {
  *whole = true;
  if (task_->unit == Unit::none) return 0.0;
  NodeLanguage& node = trie_.language(index);
  double total = node.total;
  uint32_t state = node.state;
  if (task_->unit == Unit::word && node.lexeme != Lexicon::root()) {
    *whole = !task_->closed || task_->lexicon->word(node.lexeme) != kNoWord;
    end_word(node);
    total += node.word_end;
    state = node.word_end_state;
  }
  if (options_.score_end && task_->has_model) {
    ++tally_.lookups;
    total += options_.alpha * (options_.compat == Compat::baidu ? 1.0 : kLn10) * language_->score_end(state);
  }
  return total;
}

std::vector<Result> Search::peek(Tally* tally) {
  const Tally before = tally_;
  peeking_ = true;
  auto results = finish();
  peeking_ = false;
  *tally = tally_;
  tally_ = before;
  return results;
}

std::vector<Result> Search::finish() {
  struct Ending {
    double score, acoustic, language;
    int32_t slot;
    bool whole;
  };
  std::vector<Ending> endings;
  bool any_whole = false;
  for (int32_t slot = 0; slot < count_; ++slot) {
    const size_t s = static_cast<size_t>(slot);
    const uint32_t node = static_cast<uint32_t>(node_[s]);
    Ending e{};
    e.slot = slot;
    e.acoustic = std::log(mass_[s]) - static_cast<double>(shift_) * kLn2;
    if (task_->unit != Unit::none) e.acoustic -= trie_.language(node).total + trie_.language(node).ahead;
    e.language = finish_language(node, &e.whole);
    e.score = e.acoustic + e.language;
    any_whole |= e.whole;
    endings.push_back(e);
  }
  // Fragments of words are no hypotheses, unless there is nothing else.
  if (any_whole)
    endings.erase(std::remove_if(endings.begin(), endings.end(), [](const Ending& e) { return !e.whole; }), endings.end());
  std::stable_sort(endings.begin(), endings.end(), [](const Ending& a, const Ending& b) { return a.score > b.score; });
  if (endings.size() > static_cast<size_t>(options_.n_best)) endings.resize(static_cast<size_t>(options_.n_best));
  std::vector<Result> results;
  results.reserve(endings.size());
  for (const Ending& e : endings) results.push_back(result(e.slot, e.acoustic, e.language));
  return results;
}

Result Search::result(int32_t slot, double acoustic, double language) const {
  Result out;
  out.acoustic = acoustic;
  out.language = language;
  int32_t end = end_[static_cast<size_t>(slot)];
  for (uint32_t r = record_[static_cast<size_t>(slot)]; r != kNone; r = records_[r].before) {
    const Record& record = records_[r];
    const double mass = std::log(record.mass) - static_cast<double>(record.shift) * kLn2;
    const RecordLanguage of = records_.language(r);
    out.labels.push_back({record.column, record.start, end, 0, mass - of.total - of.ahead, of.total});
    end = record.end_before;
  }
  std::reverse(out.labels.begin(), out.labels.end());
  for (const LabelTime& label : out.labels) out.text += task_->spelling[static_cast<size_t>(label.column)];
  if (task_->word_starts && !out.text.empty() && out.text[0] == ' ') out.text.erase(0, 1);
  return out;
}

}  // namespace ctc
