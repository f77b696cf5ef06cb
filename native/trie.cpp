#include "trie.h"

#include <algorithm>

namespace ctc {

namespace {

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ key >> 29;
}

}  // namespace

void Trie::restart(int columns, int32_t empty_slot) {
  wide_ = columns > 64;
  empty_slot_ = empty_slot;
  nodes_.clear();
  slots_.clear();
  used_ = 0;
  if (wide_) table_.assign(std::max<size_t>(table_.size(), 4096), {0, 0});
  nodes_.push_back(Node{kNone, -1, kNone, kNone, 0, 0, 0, 0, 0.0, 0.0, kNone, 0});
  slots_.push_back(empty_slot);
}

uint32_t Trie::find(uint32_t parent, int column) const {
  const Node& node = nodes_[parent];
  if (!(node.children >> (column & 63) & 1)) return kNone;
  if (!wide_) {
    uint32_t child = node.first_child;
    while (child != kNone && nodes_[child].column != column) child = nodes_[child].next_sibling;
    return child;
  }
  const uint64_t wanted = key(parent, column) + 1;
  for (size_t i = mix(wanted);; ++i) {
    const auto& entry = table_[i & (table_.size() - 1)];
    if (entry.first == wanted) return entry.second;
    if (!entry.first) return kNone;
  }
}

uint32_t Trie::add(uint32_t parent, int column) {
  const uint32_t child = size();
  Node& above = nodes_[parent];
  const uint32_t sibling = above.first_child;
  above.first_child = child;
  above.children |= uint64_t{1} << (column & 63);
  nodes_.push_back(Node{parent, column, kNone, sibling, 0, 0, 0, 0, 0.0, 0.0, kNone, 0});
  slots_.push_back(empty_slot_);
  if (wide_) insert(key(parent, column) + 1, child);
  return child;
}

void Trie::insert(uint64_t wanted, uint32_t node) {
  if (++used_ * 2 > table_.size()) rehash(table_.size() * 2);
  size_t i = mix(wanted);
  while (table_[i & (table_.size() - 1)].first) ++i;
  table_[i & (table_.size() - 1)] = {wanted, node};
}

void Trie::rehash(size_t size) {
  std::vector<std::pair<uint64_t, uint32_t>> old(size, {0, 0});
  old.swap(table_);
  for (const auto& entry : old) {
    if (!entry.first) continue;
    size_t i = mix(entry.first);
    while (table_[i & (size - 1)].first) ++i;
    table_[i & (size - 1)] = entry;
  }
}

void Trie::compact(std::vector<uint32_t>& map) {
  uint32_t kept = 0;
  if (wide_) table_.assign(table_.size(), {0, 0});
  used_ = 0;
  // A parent's number is below its children's, before and after.
  for (uint32_t old = 0; old < size(); ++old) {
    if (!map[old]) continue;
    Node node = nodes_[old];
    const int32_t slot = slots_[old];
    map[old] = kept;
    node.children = 0;
    node.first_child = node.next_sibling = kNone;
    if (node.parent != kNone) {
      node.parent = map[node.parent];
      Node& above = nodes_[node.parent];
      node.next_sibling = above.first_child;
      above.first_child = kept;
      above.children |= uint64_t{1} << (node.column & 63);
      if (wide_) insert(key(node.parent, node.column) + 1, kept);
    }
    nodes_[kept] = node;
    slots_[kept] = slot;
    ++kept;
  }
  nodes_.resize(kept);
  slots_.resize(kept);
}

size_t Trie::memory() const {
  return nodes_.capacity() * sizeof(Node) + slots_.capacity() * sizeof(int32_t) + table_.capacity() * sizeof(table_[0]);
}

void Records::compact(std::vector<uint32_t>& map) {
  uint32_t kept = 0;
  for (uint32_t old = 0; old < size(); ++old) {
    if (!map[old]) continue;
    Record record = records_[old];
    if (record.before != kNone) record.before = map[record.before];
    map[old] = kept;
    records_[kept++] = record;
  }
  records_.resize(kept);
}

}  // namespace ctc
