#include "trie.h"

#include <algorithm>

namespace ctc {

namespace {

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ key >> 29;
}

}  // namespace

void Trie::restart(int columns, int32_t empty_slot, bool has_language) {
  has_language_ = has_language;
  language_.clear();
  if (has_language) language_.push_back({});
  wide_ = columns > 64;
  empty_slot_ = empty_slot;
  nodes_.clear();
  slots_.clear();
  used_ = 0;
  if (wide_) table_.assign(std::max<size_t>(table_.size(), 4096), {0, 0});
  nodes_.push_back(Node{kNone, -1, kNone, kNone, 0, 0});
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

// Room grows by half at least, so that growing stays rare.
template <typename Vector>
static void make_room(Vector& vector, size_t more) {
  if (vector.capacity() - vector.size() < more) vector.reserve(vector.size() + std::max(more, vector.size() / 2));
}

void Trie::reserve(size_t more) {
  make_room(nodes_, more);
  make_room(slots_, more);
  if (has_language_) make_room(language_, more);
}

void Records::reserve(size_t more) { make_room(records_, more); }

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
  // A parent's number is below its children's, before and after, so one sweep in either direction is enough.
  for (uint32_t node = size() - 1; node > 0; --node)
    if (map[node]) map[nodes_[node].parent] = 1;
  uint32_t kept = 0;
  if (wide_) table_.assign(table_.size(), {0, 0});
  used_ = 0;
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
    if (has_language_) language_[kept] = language_[old];
    ++kept;
  }
  nodes_.resize(kept);
  slots_.resize(kept);
  if (has_language_) language_.resize(kept);
}

size_t Trie::memory() const {
  return nodes_.capacity() * sizeof(Node) + language_.capacity() * sizeof(NodeLanguage) +
         slots_.capacity() * sizeof(int32_t) + table_.capacity() * sizeof(table_[0]);
}

void Records::compact(std::vector<uint32_t>& map) {
  for (uint32_t record = size(); record-- > 0;)
    if (map[record] && records_[record].before != kNone) map[records_[record].before] = 1;
  uint32_t kept = 0;
  for (uint32_t old = 0; old < size(); ++old) {
    if (!map[old]) continue;
    Record record = records_[old];
    if (record.before != kNone) record.before = map[record.before];
    map[old] = kept;
    if (!language_.empty()) language_[kept] = language_[old];
    records_[kept++] = record;
  }
  records_.resize(kept);
  if (!language_.empty()) language_.resize(kept);
}

}  // namespace ctc
