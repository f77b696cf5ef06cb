// The beginnings of words a closed vocabulary allows, as a graph walked column by column.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ctc {

constexpr uint32_t kNoWord = 0xFFFFFFFFu;
constexpr uint32_t kOutside = 0xFFFFFFFFu;  // where a prefix is that no word of the list begins with

class Lexicon {
 public:
  // labels: what each column spells, empty for the blank and the delimiter. Words that labels cannot spell are left
  // out. Word ids are positions in `words`.
  Lexicon(const std::vector<std::string>& labels, int delimiter, const std::vector<std::string>& words);

  static constexpr uint32_t root() { return 0; }
  uint32_t size() const { return static_cast<uint32_t>(word_.size()); }
  uint32_t word(uint32_t node) const { return word_[node]; }
  // Bits of the columns (modulo 64) that may follow: exact for up to 64 columns.
  uint64_t mask(uint32_t node) const { return mask_[node]; }
  // The node one label further, or kOutside.
  uint32_t child(uint32_t node, int column) const {
    const uint32_t first = edges_[node], last = edges_[node + 1];
    if (narrow_) {
      const uint64_t bit = uint64_t{1} << column, letters = mask_[node] & ~delimiter_bit_;
      if (!(letters & bit)) return kOutside;
      return target_[first + static_cast<uint32_t>(__builtin_popcountll(letters & (bit - 1)))];
    }
    return search(first, last, column);
  }
  // Whether every node is reached from one other only, as where labels are single letters.
  bool is_tree() const { return is_tree_; }
  // The node each is reached from, in a tree; the root from itself.
  std::vector<uint32_t> parents() const;
  // For each node one past the last node below it: nodes are numbered depth first.
  std::vector<uint32_t> subtree_ends() const;
  // For each node the largest value among the words that go through it; nodes come before those they lead to.
  std::vector<double> best_below(const std::vector<double>& value_of_word) const;

 private:
  uint32_t search(uint32_t first, uint32_t last, int column) const;
  void add_edges(const std::vector<std::vector<std::pair<uint32_t, uint32_t>>>& children,
                 const std::vector<std::string>& labels, int delimiter);

  bool narrow_;
  bool is_tree_ = true;
  uint64_t delimiter_bit_ = 0;
  std::vector<uint32_t> word_;
  std::vector<uint64_t> mask_;
  std::vector<uint32_t> edges_;   // node -> first edge
  std::vector<uint32_t> target_;  // by edge, ascending column
  std::vector<int32_t> column_;   // by edge
};

}  // namespace ctc
