// Prefix beam search over CTC posteriors. docs/decoding.md says how it works; src/deepspeech2/ctc/reference.py is the
// definition it equals.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "language.h"
#include "lexicon.h"
#include "scoring.h"
#include "trie.h"

namespace ctc {

struct LabelTime {
  int32_t column, start, end, reserved;
  double acoustic, language;
};

struct Result {
  std::string text;
  double acoustic, language;
  std::vector<LabelTime> labels;
};

struct Tally {
  int64_t frames = 0, candidates = 0, merges = 0, created = 0, lookups = 0;
};

enum class RowFault { none, not_normalised, no_prefix_left, out_of_range };

// One utterance at a time; `restart` makes it ready for the next and keeps the memory.
class Search {
 public:
  Search(std::shared_ptr<const Task> task, std::unique_ptr<Language> language);

  void restart(const Options& options, std::shared_ptr<const Weights> weights);
  // One frame of columns() log-probabilities. After a fault the search must be restarted.
  template <typename Number>
  RowFault step(const Number* row);
  // Whether a row is a distribution; changes nothing that lasts.
  template <typename Number>
  bool normalised(const Number* row);
  // The hypotheses, best first.
  std::vector<Result> finish();
  // The same if the audio ended here, and the tally there would be; the search and its own tally go on as they were.
  std::vector<Result> peek(Tally* tally);
  const Tally& tally() const { return tally_; }
  // The largest beam there was so far.
  int beam_size() const { return capacity_; }
  // Bytes held, for tests of bounded memory.
  size_t memory() const;

 private:
  struct Newcomer {
    double value;
    uint32_t node, record;
  };
  // Who holds a future: a slot, or count_ + a candidate.
  struct Future {
    uint32_t state, lexeme;
    int32_t holder, column;
  };
  static constexpr int32_t kFree = -2, kGone = -1;

  RowFault frame();
  bool weigh_frame();
  void apply_cutoffs();
  void keep_most_probable(int wanted);
  void keep_mass(int wanted);
  int choose_extensions(double before);
  void rescale();
  void stay();
  void extend();
  // What the language model can multiply by at most where a column is entered.
  double bound_of(int column) const { return column == word_end_column_ ? bound_of_word_end_ : bound_of_letter_; }
  void extend_by(int column, double bound);
  void keep_useful(int column, int found);
  bool allowed(const NodeLanguage& node, int column) const;
  void let_pauses_last();
  double entry_factor(int32_t slot, int column);
  void prune();
  void keep_candidates(double least);
  void drop_equals(double least, int excess);
  void choose();
  void create();
  uint32_t note(size_t source, uint32_t node, int column, double mass);
  void reenter();
  void begin_futures();
  size_t find_future(uint32_t state, uint32_t lexeme, int32_t column);
  void grow_futures();
  bool take_future(int32_t slot, int column, double value);
  void move_future(int from, int to);
  void drop(int32_t slot);
  void place(const Newcomer& newcomer, int32_t slot);
  void move(int32_t from, int32_t to);
  void replace_losers();
  void collect_garbage();
  void forget_states();
  void swap_buffers();
  void reserve(int beam_size);

  void enter_language(NodeLanguage& child, NodeLanguage& parent, int column);
  void end_word(NodeLanguage& node);
  double ahead(uint32_t state, uint32_t lexeme);
  uint64_t blocked_of(uint32_t node) const;
  Scored ask(uint32_t state, uint32_t word);
  double finish_language(uint32_t node, bool* whole);
  Result result(int32_t slot, double acoustic, double language) const;

  std::shared_ptr<const Task> task_;
  std::shared_ptr<const Weights> weights_;
  std::unique_ptr<Language> language_;
  const Kernels& kernels_;
  Options options_;
  Tally tally_;
  bool peeking_ = false;

  Trie trie_;
  Records records_;
  uint32_t live_ = 0;  // nodes and records the last collection left
  // What was found for a state and a place in the lexicon, until another pair takes the place.
  struct Promise {
    uint64_t key;
    double ahead;
  };
  static constexpr int kPromiseBits = 14;
  std::vector<Promise> promises_;
  std::vector<uint32_t> node_map_, record_map_, states_;

  // The beam: structure of arrays, `count_` slots. mass = [total + candidates | blank], stride_ apart.
  int capacity_ = 0, stride_ = 0, count_ = 0, new_count_ = 0;
  int32_t frame_ = 0;
  int64_t shift_ = 0;   // numbers in the beam are probabilities times 2^shift
  double largest_ = 1;  // of the totals
  std::vector<double> mass_, new_mass_, label_, new_label_, factor_;
  std::vector<int32_t> last_, parent_, source_offset_, end_, new_end_, node_;
  std::vector<uint64_t> blocked_;
  std::vector<uint32_t> record_;

  int word_end_column_ = -1;  // the delimiter where words are scored
  double bound_of_word_end_ = 1.0, bound_of_letter_ = 1.0;

  // One frame's work.
  std::vector<double> probability_, cut_, scratch_;  // cut_: what the cut-offs kept, 0 elsewhere
  double* in_play_ = nullptr;                         // one of these two
  std::vector<int32_t> kept_, extensions_;            // columns: of cut_; to extend by, the most probable first
  int kept_count_ = 0;
  std::vector<int32_t> entered_, losers_;
  int entered_count_ = 0, candidates_ = 0, losers_count_ = 0;
  // Two bars. `threshold_`, while candidates are made: one must be above it to be added; it begins at the worst of a
  // full beam or the reach of the best, and each prune raises it to the least that has a place (`least` in there).
  // `least_`, once all are made: everything in the new beam is at or above it; the larger of the last threshold, where
  // the beam is full, and the floor that the best of all sets.
  double threshold_ = 0, least_ = 0;
  std::vector<int32_t> candidate_slot_, candidate_column_;
  std::vector<Newcomer> newcomers_;
  std::vector<std::pair<int32_t, uint32_t>> reentries_;
  bool recombining_ = false;
  uint32_t entered_state_ = 0;  // of the label just scored
  std::vector<Future> futures_;
  size_t futures_used_ = 0;
  std::vector<int32_t> candidate_future_;  // where in futures_, or -1
};

}  // namespace ctc
