#include "lexicon.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace ctc {

namespace {

// Code points of valid UTF-8; a byte that is none counts as itself, so that nothing is lost or merged.
std::u32string code_points(const std::string& text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 1;
    char32_t value = length == 1 ? lead : lead & (0x7F >> length);
    bool whole = i + length <= text.size();
    for (size_t j = 1; whole && j < length; ++j) {
      const unsigned char next = static_cast<unsigned char>(text[i + j]);
      whole = next >> 6 == 2;
      value = value << 6 | (next & 0x3F);
    }
    out.push_back(whole ? value : 0x110000u + lead);
    i += whole ? length : 1;
  }
  return out;
}

}  // namespace

Lexicon::Lexicon(const std::vector<std::string>& labels, int delimiter, const std::vector<std::string>& words)
    : narrow_(labels.size() <= 64) {
  if (delimiter >= 0) delimiter_bit_ = uint64_t{1} << (delimiter & 63);
  std::vector<std::pair<std::u32string, uint32_t>> sorted;
  sorted.reserve(words.size());
  std::unordered_map<char32_t, bool> letters;
  for (const auto& label : labels) {
    const auto points = code_points(label);
    is_tree_ &= points.size() <= 1;
    for (char32_t point : points) letters[point] = true;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    auto points = code_points(words[i]);
    const bool spelled = !points.empty() && std::all_of(points.begin(), points.end(),
                                                        [&](char32_t point) { return letters.count(point) != 0; });
    if (spelled) sorted.emplace_back(std::move(points), static_cast<uint32_t>(i));
  }
  std::sort(sorted.begin(), sorted.end());

  // The words in order are the paths of a trie in depth-first order: a word shares nodes with the one before it.
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> children(1);  // node -> (letter, node)
  word_.push_back(kNoWord);
  std::vector<uint32_t> path{0};
  std::u32string before;
  for (const auto& [letters_of_word, id] : sorted) {
    size_t shared = 0;
    while (shared < before.size() && shared < letters_of_word.size() && before[shared] == letters_of_word[shared])
      ++shared;
    path.resize(shared + 1);
    for (size_t i = shared; i < letters_of_word.size(); ++i) {
      const uint32_t node = static_cast<uint32_t>(word_.size());
      word_.push_back(kNoWord);
      children.emplace_back();
      children[path.back()].emplace_back(static_cast<uint32_t>(letters_of_word[i]), node);
      path.push_back(node);
    }
    if (word_[path.back()] == kNoWord) word_[path.back()] = id;
    before = letters_of_word;
  }
  add_edges(children, labels, delimiter);
}

void Lexicon::add_edges(const std::vector<std::vector<std::pair<uint32_t, uint32_t>>>& children,
                        const std::vector<std::string>& labels, int delimiter) {
  // Labels by their first letter; those of several letters lead several nodes down.
  std::unordered_map<uint32_t, std::vector<std::pair<int, std::u32string>>> by_letter;
  for (size_t column = 0; column < labels.size(); ++column) {
    const auto points = code_points(labels[column]);
    if (!points.empty()) by_letter[static_cast<uint32_t>(points[0])].emplace_back(static_cast<int>(column), points);
  }
  const auto step = [&](uint32_t node, char32_t letter) {
    const auto& list = children[node];
    const auto found = std::lower_bound(list.begin(), list.end(), std::make_pair(static_cast<uint32_t>(letter), 0u));
    return found != list.end() && found->first == letter ? found->second : kOutside;
  };
  std::vector<std::pair<int, uint32_t>> out;
  edges_.push_back(0);
  for (uint32_t node = 0; node < children.size(); ++node) {
    out.clear();
    for (const auto& [letter, child] : children[node]) {
      for (const auto& [column, points] : by_letter[letter]) {
        uint32_t at = child;
        for (size_t i = 1; i < points.size() && at != kOutside; ++i) at = step(at, points[i]);
        if (at != kOutside) out.emplace_back(column, at);
      }
    }
    std::sort(out.begin(), out.end());
    uint64_t mask = 0;
    for (const auto& [column, target] : out) {
      mask |= uint64_t{1} << (column & 63);
      column_.push_back(column);
      target_.push_back(target);
    }
    if (delimiter >= 0 && word_[node] != kNoWord) mask |= delimiter_bit_;
    mask_.push_back(mask);
    edges_.push_back(static_cast<uint32_t>(target_.size()));
  }
}

uint32_t Lexicon::search(uint32_t first, uint32_t last, int column) const {
  const auto begin = column_.begin() + first, end = column_.begin() + last;
  const auto found = std::lower_bound(begin, end, column);
  return found != end && *found == column ? target_[static_cast<size_t>(found - column_.begin())] : kOutside;
}

std::vector<uint32_t> Lexicon::parents() const {
  std::vector<uint32_t> parents(word_.size(), 0);
  for (uint32_t node = 0; node < size(); ++node)
    for (uint32_t edge = edges_[node]; edge < edges_[node + 1]; ++edge) parents[target_[edge]] = node;
  return parents;
}

std::vector<uint32_t> Lexicon::subtree_ends() const {
  std::vector<uint32_t> ends(word_.size());
  for (uint32_t node = size(); node-- > 0;) {
    ends[node] = node + 1;
    for (uint32_t edge = edges_[node]; edge < edges_[node + 1]; ++edge)
      ends[node] = std::max(ends[node], ends[target_[edge]]);
  }
  return ends;
}

std::vector<double> Lexicon::best_below(const std::vector<double>& value_of_word) const {
  std::vector<double> best(word_.size(), -std::numeric_limits<double>::infinity());
  for (size_t node = word_.size(); node-- > 0;) {
    if (word_[node] != kNoWord) best[node] = value_of_word[word_[node]];
    for (uint32_t edge = edges_[node]; edge < edges_[node + 1]; ++edge)
      best[node] = std::max(best[node], best[target_[edge]]);
  }
  return best;
}

}  // namespace ctc
