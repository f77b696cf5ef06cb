// The prefixes that are or were in the beam, and when their labels were entered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ctc {

constexpr uint32_t kNone = 0xFFFFFFFFu;

// A prefix. Nodes keep their number while they are in the beam or lead to one that is, so that a prefix which was
// dropped and reappears finds its node, and alignments meet where they should. Others go when the trie has grown.
struct Node {
  uint32_t parent;
  int32_t column;  // the last label; -1 at the root
  uint32_t first_child, next_sibling;
  uint64_t children;          // bits of the columns (modulo 64) that have a node
  uint64_t children_in_beam;  // the same for those in the beam; kept for up to 64 columns
  // Language model.
  uint32_t lexeme;          // where the unfinished word is in the lexicon
  uint32_t state;           // after the last finished word
  double language;          // everything added so far
  double word_end;          // what ending the word here adds, once asked
  uint32_t word_end_state;  // kNone: not yet asked
  uint32_t words;
};

class Trie {
 public:
  void restart(int columns, int32_t empty_slot);
  Node& operator[](uint32_t node) { return nodes_[node]; }
  const Node& operator[](uint32_t node) const { return nodes_[node]; }
  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
  // The child by a column, or kNone.
  uint32_t find(uint32_t parent, int column) const;
  // A new child; the caller knows there is none.
  uint32_t add(uint32_t parent, int column);
  // Keeps the marked nodes (map[node] != 0) in order, and leaves their new numbers in `map`.
  void compact(std::vector<uint32_t>& map);
  // Where each node is in the beam.
  std::vector<int32_t>& slots() { return slots_; }
  int32_t slot(uint32_t node) const { return slots_[node]; }
  size_t memory() const;

 private:
  static uint64_t key(uint32_t parent, int column) { return uint64_t{parent} << 32 | static_cast<uint32_t>(column); }
  void insert(uint64_t key, uint32_t node);
  void rehash(size_t size);

  bool wide_ = false;
  int32_t empty_slot_ = 0;
  std::vector<Node> nodes_;
  std::vector<int32_t> slots_;
  // More than 64 columns: children are found by hash, 0 is free.
  std::vector<std::pair<uint64_t, uint32_t>> table_;
  size_t used_ = 0;
};

// One label on the way to a prefix. Records do not change: a prefix that is entered anew gets another.
struct Record {
  uint32_t before;
  int32_t column, start, end_before;
  double mass;      // what entered, times 2^shift, language model included
  int64_t shift;
  double language;  // what of it the language model is
  double ahead;     // and what look-ahead is
};

class Records {
 public:
  void restart() { records_.clear(); }
  uint32_t add(const Record& record) {
    records_.push_back(record);
    return static_cast<uint32_t>(records_.size() - 1);
  }
  const Record& operator[](uint32_t record) const { return records_[record]; }
  uint32_t size() const { return static_cast<uint32_t>(records_.size()); }
  void compact(std::vector<uint32_t>& map);
  size_t memory() const { return records_.capacity() * sizeof(Record); }

 private:
  std::vector<Record> records_;
};

}  // namespace ctc
