#include "arpa.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "ngram.h"
#include "ngram_format.h"

namespace ctc {

namespace {

constexpr uint32_t kNoEntry = 0xFFFFFFFFu;
constexpr uint32_t kMaxOrder = 16;
constexpr size_t kMaxLine = 1 << 20;
constexpr float kMissingUnknown = -100.0f;  // what KenLM gives unknown words where the file has no <unk>

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool parse_count(std::string_view text, uint64_t* out) {
  if (text.empty() || text.size() > 18) return false;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  *out = value;
  return true;
}

// Decimal numbers as ARPA files hold them, whatever the locale.
bool parse_number(std::string_view text, float* out) {
  if (text == "-inf") {  // the logarithm of zero, which the usual tools write as -99
    *out = -99.0f;
    return true;
  }
  size_t i = 0;
  const bool negative = i < text.size() && text[i] == '-';
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  double value = 0.0;
  int scale = 0, digits = 0;
  bool point = false;
  for (; i < text.size(); ++i) {
    if (text[i] == '.' && !point) {
      point = true;
    } else if (text[i] >= '0' && text[i] <= '9') {
      if (value < 1e17) {
        value = value * 10 + (text[i] - '0');
        scale -= point;
      } else {
        scale += !point;
      }
      ++digits;
    } else {
      break;
    }
  }
  if (!digits) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    bool down = false;
    int exponent = 0;
    if (++i < text.size() && (text[i] == '-' || text[i] == '+')) down = text[i++] == '-';
    if (i == text.size()) return false;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) exponent = std::min(exponent * 10 + (text[i] - '0'), 9999);
    scale += down ? -exponent : exponent;
  }
  if (i != text.size()) return false;
  value = scale < -300 ? 0.0 : value * std::pow(10.0, scale);
  if (!(value < 1e30)) return false;
  *out = static_cast<float>(negative ? -value : value);
  return true;
}

std::string quoted(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 40)) out += static_cast<unsigned char>(c) < 32 ? '?' : c;
  return out + (text.size() > 40 ? "...'" : "'");
}

}  // namespace

void ArpaReader::fail(const std::string& what) const {
  throw std::invalid_argument("line " + std::to_string(line_) + ": " + what);
}

void ArpaReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    if (rest_.size() + std::min(end, bytes.size()) > kMaxLine) fail("longer than a line of an ARPA file can be");
    if (end == std::string_view::npos) {
      rest_.append(bytes);
      return;
    }
    if (rest_.empty()) {
      line(bytes.substr(0, end));
    } else {
      rest_.append(bytes.substr(0, end));
      line(rest_);
      rest_.clear();
    }
    bytes.remove_prefix(end + 1);
  }
}

void ArpaReader::line(std::string_view text) {
  ++line_;
  if (line_ == 1 && text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // byte order mark
  if (ended_) return;
  text = trimmed(text);
  if (!in_data_) {
    in_data_ = text == "\\data\\";
  } else if (text.empty()) {
    return;
  } else if (text == "\\end\\") {
    close_section();
    while (section_ && section_ < promised_.size() && promised_[section_] == 0) ++section_;  // nothing, and no section for it
    if (section_ != promised_.size())
      fail("the file ends after its " + std::to_string(section_) + "-grams, but the header promises up to " +
           std::to_string(promised_.size()) + "-grams");
    ended_ = true;
  } else if (text.front() == '\\' && text.size() > 7 && text.substr(text.size() - 7) == "-grams:") {
    section_line(text);
  } else if (section_ == 0) {
    count_line(text);
  } else {
    ngram_line(text);
  }
}

void ArpaReader::count_line(std::string_view text) {
  const size_t equals = text.find('=');
  uint64_t order = 0, count = 0;
  if (text.substr(0, 6) != "ngram " || equals == std::string_view::npos ||
      !parse_count(trimmed(text.substr(6, equals - 6)), &order) || !parse_count(trimmed(text.substr(equals + 1)), &count))
    fail("expected 'ngram N=COUNT', found " + quoted(text));
  if (order != promised_.size() + 1 || order > kMaxOrder)
    fail("expected the count of " + std::to_string(promised_.size() + 1) + "-grams (at most " + std::to_string(kMaxOrder) +
         "), found " + quoted(text));
  promised_.push_back(count);
}

void ArpaReader::section_line(std::string_view text) {
  close_section();
  uint64_t order = 0;
  if (!parse_count(text.substr(1, text.size() - 8), &order) || order != section_ + 1 || order > promised_.size())
    fail("expected section \\" + std::to_string(section_ + 1) + "-grams: of " + std::to_string(promised_.size()) +
         ", found " + quoted(text));
  section_ = static_cast<uint32_t>(order);
  found_ = 0;
}

void ArpaReader::close_section() {
  if (section_ && found_ != promised_[section_ - 1])
    fail("the header promises " + std::to_string(promised_[section_ - 1]) + " " + std::to_string(section_) +
         "-grams, but there are " + std::to_string(found_));
}

void ArpaReader::ngram_line(std::string_view text) {
  std::string_view fields[kMaxOrder + 3];
  size_t count = 0;
  for (size_t i = 0; i < text.size() && count < section_ + 3;) {
    size_t end = i;
    while (end < text.size() && !is_space(text[end])) ++end;
    fields[count++] = text.substr(i, end - i);
    while (end < text.size() && is_space(text[end])) ++end;
    i = end;
  }
  if (count != section_ + 1 && count != section_ + 2)
    fail("expected a probability, " + std::to_string(section_) + " words and perhaps a backoff, found " + quoted(text));
  float log10 = 0.0f, backoff = 0.0f;
  if (!parse_number(fields[0], &log10)) fail("expected a log10 probability, found " + quoted(fields[0]));
  if (log10 > 1e-4f) fail("a log10 probability cannot be above 0, but is " + quoted(fields[0]));
  if (count == section_ + 2 && !parse_number(fields[section_ + 1], &backoff))
    fail("expected a log10 backoff, found " + quoted(fields[section_ + 1]));
  if (++found_ > promised_[section_ - 1])
    fail("the header promises " + std::to_string(promised_[section_ - 1]) + " " + std::to_string(section_) +
         "-grams, but there are more");
  if (section_ == 1) add_unigram(fields[1], log10, backoff);
  else add_ngram(fields + 1, section_, log10, backoff);
}

void ArpaReader::add_unigram(std::string_view word, float log10, float backoff) {
  if (!ids_.emplace(std::string(word), static_cast<uint32_t>(entries_.size())).second)
    fail("the word " + quoted(word) + " was there before");
  if (text_.size() + word.size() >= kNoEntry) fail("more words than this reader can hold");
  text_ += word;
  offsets_.push_back(static_cast<uint32_t>(text_.size()));
  entries_.push_back({kNoEntry, static_cast<uint32_t>(entries_.size()), kNoEntry, log10, backoff});
  has_children_.push_back(0);
}

uint32_t ArpaReader::word_id(std::string_view word) const {
  const auto found = ids_.find(std::string(word));
  if (found == ids_.end()) fail("the word " + quoted(word) + " is not among the 1-grams");
  return found->second;
}

void ArpaReader::add_ngram(const std::string_view* words, uint32_t order, float log10, float backoff) {
  uint32_t context = word_id(words[0]);
  for (uint32_t i = 1; i + 1 < order; ++i) {
    context = find(context, word_id(words[i]));
    if (context == kNoEntry)
      fail("this " + std::to_string(order) + "-gram has no " + std::to_string(i + 1) + "-gram that it begins with (" +
           quoted(words[0]) + " ... " + quoted(words[i]) + ")");
  }
  const uint32_t word = word_id(words[order - 1]);
  if (find(context, word) != kNoEntry) fail("this " + std::to_string(order) + "-gram was there before");
  uint32_t suffix = kNoEntry;
  for (uint32_t shorter = entries_[context].suffix; shorter != kNoEntry && suffix == kNoEntry; shorter = entries_[shorter].suffix)
    suffix = find(shorter, word);
  if (suffix == kNoEntry) suffix = word;
  if (entries_.size() >= kNoEntry) fail("more n-grams than this reader can hold");
  has_children_[context] = 1;
  has_children_.push_back(0);
  entries_.push_back({context, word, suffix, log10, backoff});
  insert(static_cast<uint32_t>(entries_.size() - 1));
}

uint32_t ArpaReader::find(uint32_t context, uint32_t word) const {
  if (table_.empty()) return kNoEntry;
  for (uint64_t i = ngram_hash(context, word);; ++i) {
    const uint32_t entry = table_[i & (table_.size() - 1)];
    if (entry == kNoEntry || (entries_[entry].context == context && entries_[entry].word == word)) return entry;
  }
}

void ArpaReader::insert(uint32_t entry) {
  const size_t unigrams = ids_.size();
  if ((entries_.size() - unigrams) * 2 > table_.size()) {
    table_.assign(std::max<size_t>(1024, table_.size() * 2), kNoEntry);
    for (uint32_t old = static_cast<uint32_t>(unigrams); old < entry; ++old) insert(old);
  }
  uint64_t i = ngram_hash(entries_[entry].context, entries_[entry].word);
  while (table_[i & (table_.size() - 1)] != kNoEntry) ++i;
  table_[i & (table_.size() - 1)] = entry;
}

// The state after an n-gram. One that nothing follows and that adds no backoff predicts as its suffix does.
uint32_t ArpaReader::state_of(uint32_t entry) const {
  while (entry != kNoEntry && !states_[entry]) entry = entries_[entry].suffix;
  return entry == kNoEntry ? 0 : states_[entry];
}

uint32_t ArpaReader::number_states() {
  states_.assign(entries_.size(), 0);
  uint32_t count = 1;
  for (size_t i = 0; i < entries_.size(); ++i)
    if (has_children_[i] || entries_[i].backoff != 0.0f) states_[i] = count++;
  return count;
}

// What a word can have behind a state: the largest that is listed there, or the backoff and what it can have behind the
// state's suffix, which has a lower number. A bound: the most probable behind the suffix may be listed.
float ArpaReader::largest(uint32_t states) const {
  std::vector<double> most(states, kMissingUnknown), backoff(states, 0.0);
  std::vector<uint32_t> suffix(states, 0);
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    double& behind = most[i < ids_.size() ? 0 : states_[entry.context]];
    behind = std::max(behind, static_cast<double>(entry.log10));
    if (!states_[i]) continue;
    backoff[states_[i]] = entry.backoff;
    suffix[states_[i]] = entry.suffix == kNoEntry ? 0 : state_of(entry.suffix);
  }
  for (uint32_t state = 1; state < states; ++state)
    most[state] = std::max(most[state], backoff[state] + most[suffix[state]]);
  return static_cast<float>(*std::max_element(most.begin(), most.end()));
}

std::vector<uint8_t> ArpaReader::finish() {
  if (!rest_.empty()) {
    line(rest_);
    rest_.clear();
  }
  if (!in_data_) fail("the file has no \\data\\ line: it is no ARPA language model");
  if (!ended_) fail("the file ends without \\end\\: it was cut short");
  if (ids_.empty()) fail("the model has no words");
  if (!ids_.count("<unk>")) {
    const auto other = ids_.find("<UNK>");
    if (other == ids_.end()) {
      // Behind the unigrams there may be longer n-grams, so the new word takes the number of a word, not of an entry.
      text_ += "<unk>";
      offsets_.push_back(static_cast<uint32_t>(text_.size()));
    }
  }
  const uint32_t unigrams = static_cast<uint32_t>(ids_.size());
  const uint32_t words = static_cast<uint32_t>(offsets_.size() - 1);
  const uint32_t states = number_states();
  const uint64_t longer = entries_.size() - unigrams;
  uint64_t slots = 64;
  while (slots < longer + longer / 2) slots *= 2;

  NgramHeader h{};
  std::memcpy(h.magic, kNgramMagic, 8);
  h.version = kNgramVersion;
  h.order = static_cast<uint32_t>(promised_.size());
  h.words = words;
  h.states = states;
  h.slots = slots;
  const auto id_or = [this](const char* name, uint32_t otherwise) {
    const auto found = ids_.find(name);
    return found == ids_.end() ? otherwise : found->second;
  };
  h.unknown = id_or("<unk>", id_or("<UNK>", unigrams));
  h.end = id_or("</s>", h.unknown);
  const uint32_t start = id_or("<s>", kNoEntry);
  h.begin = start == kNoEntry ? 0 : state_of(start);
  h.largest = largest(states);
  std::vector<uint8_t> image(lay_out(&h), 0);
  fill(image, h);
  h.checksum = ngram_checksum(image.data() + kNgramHeaderSize, h.size);
  std::memcpy(image.data(), &h, sizeof h);
  return image;
}

// Decides where the sections go; returns the size of the image.
uint64_t ArpaReader::lay_out(NgramHeader* header) const {
  NgramHeader& h = *header;
  uint64_t at = kNgramHeaderSize;
  const auto section = [&at](uint64_t bytes) {
    const uint64_t here = at;
    at = (at + bytes + 63) / 64 * 64;
    return here;
  };
  h.unigrams_at = section(h.words * sizeof(NgramUnigram));
  h.states_at = section(h.states * sizeof(NgramState));
  h.table_at = section(h.slots * sizeof(NgramEntry));
  h.offsets_at = section((uint64_t{h.words} + 1) * 4);
  h.sorted_at = section(uint64_t{h.words} * 4);
  h.text_at = section(text_.size() + 1);
  h.size = at - kNgramHeaderSize;
  return at;
}

void ArpaReader::fill(std::vector<uint8_t>& image, const NgramHeader& h) const {
  const uint32_t unigrams = static_cast<uint32_t>(ids_.size()), words = h.words;
  const uint64_t slots = h.slots;
  auto* out_unigrams = reinterpret_cast<NgramUnigram*>(image.data() + h.unigrams_at);
  auto* out_states = reinterpret_cast<NgramState*>(image.data() + h.states_at);
  auto* out_table = reinterpret_cast<NgramEntry*>(image.data() + h.table_at);
  auto* out_sorted = reinterpret_cast<uint32_t*>(image.data() + h.sorted_at);
  for (uint64_t i = 0; i < slots; ++i) out_table[i] = {0, kUnknownWord, 0.0f, 0};
  out_states[0] = {0.0f, 0};
  if (words > unigrams) out_unigrams[unigrams] = {kMissingUnknown, 0};
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (states_[i]) out_states[states_[i]] = {entry.backoff, entry.suffix == kNoEntry ? 0 : state_of(entry.suffix)};
    if (i < unigrams) {
      out_unigrams[i] = {entry.log10, state_of(i)};
      continue;
    }
    const uint32_t context = states_[entry.context];
    uint64_t slot = ngram_hash(context, entry.word);
    while (out_table[slot & (slots - 1)].word != kUnknownWord) ++slot;
    out_table[slot & (slots - 1)] = {context, entry.word, entry.log10, state_of(i)};
  }
  std::memcpy(image.data() + h.offsets_at, offsets_.data(), offsets_.size() * 4);
  std::memcpy(image.data() + h.text_at, text_.data(), text_.size());
  const auto word = [this](uint32_t id) {
    return std::string_view(text_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
  };
  std::iota(out_sorted, out_sorted + words, 0u);
  std::sort(out_sorted, out_sorted + words, [&](uint32_t a, uint32_t b) { return word(a) < word(b); });
}

}  // namespace ctc
