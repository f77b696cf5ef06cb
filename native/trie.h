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
};

// What the language model knows of a prefix.
struct NodeLanguage {
  uint32_t lexeme = 0;          // where the unfinished word is in the lexicon
  uint32_t state = 0;           // after the last finished word
  double total = 0.0;           // everything added so far
  double ahead = 0.0;           // what ranks the unfinished word until it is finished; not part of `total`
  double word_end = 0.0;        // what ending the word here adds, once asked
  double word_end_factor = 0.0;  // and what its probability is multiplied by, look-ahead taken back
  uint32_t word_end_state = kNone;  // kNone: not yet asked
  uint32_t words : 31;
  uint32_t word_end_counted : 1;  // whether asking for the end of the word is in the tally

  NodeLanguage() : words(0), word_end_counted(0) {}
};

class Trie {
 public:
  void restart(int columns, int32_t empty_slot, bool has_language);
  Node& operator[](uint32_t node) { return nodes_[node]; }
  const Node& operator[](uint32_t node) const { return nodes_[node]; }
  // Only for a trie with language.
  NodeLanguage& language(uint32_t node) { return language_[node]; }
  const NodeLanguage& language(uint32_t node) const { return language_[node]; }
  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
  // The child by a column, or kNone.
  uint32_t find(uint32_t parent, int column) const;
  // Makes room for so many more nodes, so that adding them moves nothing.
  void reserve(size_t more);
  // A new child; the caller knows there is none.
  uint32_t add(uint32_t parent, int column) {
    const uint32_t child = size();
    Node& above = nodes_[parent];
    const uint32_t sibling = above.first_child;
    above.first_child = child;
    above.children |= uint64_t{1} << (column & 63);
    // Field by field: a whole one would be put together on the stack and read back before it is written.
    nodes_.emplace_back();
    Node& node = nodes_.back();
    node.parent = parent;
    node.column = column;
    node.first_child = kNone;
    node.next_sibling = sibling;
    slots_.push_back(empty_slot_);
    if (has_language_) language_.push_back({});
    if (wide_) insert(key(parent, column) + 1, child);
    return child;
  }
  // Keeps the marked nodes (map[node] != 0) and those above them, in order, and leaves their new numbers in `map`.
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
  bool has_language_ = false;
  std::vector<Node> nodes_;
  std::vector<NodeLanguage> language_;
  std::vector<int32_t> slots_;
  // More than 64 columns: children are found by hash, 0 is free.
  std::vector<std::pair<uint64_t, uint32_t>> table_;
  size_t used_ = 0;
};

// One label on the way to a prefix. Records do not change: a prefix that is entered anew gets another.
struct Record {
  uint32_t before;
  int32_t column, start, end_before;
  double mass;    // what entered, times 2^shift, language model included
  int32_t shift;
};

// What of a record's mass the language model and look-ahead are.
struct RecordLanguage {
  double total, ahead;
};

class Records {
 public:
  void restart() {
    records_.clear();
    language_.clear();
  }
  void reserve(size_t more);
  // A new record, to be filled in; its number is the size before.
  Record& add() {
    records_.emplace_back();
    return records_.back();
  }
  // Of the record added last; for all records or none.
  void add_language(const RecordLanguage& language) { language_.push_back(language); }
  const Record& operator[](uint32_t record) const { return records_[record]; }
  RecordLanguage language(uint32_t record) const { return language_.empty() ? RecordLanguage{0, 0} : language_[record]; }
  uint32_t size() const { return static_cast<uint32_t>(records_.size()); }
  void compact(std::vector<uint32_t>& map);
  size_t memory() const {
    return records_.capacity() * sizeof(Record) + language_.capacity() * sizeof(RecordLanguage);
  }

 private:
  std::vector<Record> records_;
  std::vector<RecordLanguage> language_;
};

}  // namespace ctc
