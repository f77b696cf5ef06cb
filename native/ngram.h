// Backoff n-gram models of any order: a flat hash of (context, word) -> (probability, next context), built from an
// ARPA file once and mapped from a cache file afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "language.h"

namespace ctc {

struct NgramEntry {
  uint32_t state, word;  // word kUnknownWord: free
  float log10;
  uint32_t next;
};
struct NgramState {
  float backoff;
  uint32_t suffix;  // the context without its oldest word; state 0 is no context
};
struct NgramUnigram {
  float log10;
  uint32_t next;
};

// The file is this header and the sections it names, each at a multiple of 64 bytes; little-endian.
struct NgramHeader {
  char magic[8];
  uint32_t version, order;
  uint64_t source_size, source_time;  // the ARPA file it was built from
  uint64_t size, checksum;            // of everything behind the header
  uint32_t words, states, begin, unknown, end;
  float largest;   // see Ngram::largest
  uint64_t slots;  // of the hash, a power of two
  uint64_t unigrams_at, states_at, table_at, offsets_at, sorted_at, text_at;
};

inline uint64_t ngram_hash(uint32_t state, uint32_t word) {
  uint64_t h = (uint64_t{state} << 32 | word) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}

class Ngram {
 public:
  // Takes an image in memory; throws std::invalid_argument where it is not a whole one.
  static std::shared_ptr<Ngram> from_memory(std::vector<uint8_t> image);
  // Maps a file; null where it is missing, of another version or source, or damaged.
  static std::shared_ptr<Ngram> from_file(const std::string& path, uint64_t source_size, uint64_t source_time);
  ~Ngram();
  Ngram(const Ngram&) = delete;
  Ngram& operator=(const Ngram&) = delete;

  Scored score(uint32_t state, uint32_t word) const;
  float backoff(uint32_t state) const { return states_[state].backoff; }
  uint32_t suffix(uint32_t state) const { return states_[state].suffix; }
  // The n-gram of a context and a word, null where the model has none.
  const NgramEntry* entry(uint32_t state, uint32_t word) const {
    for (uint64_t i = ngram_hash(state, word);; ++i) {
      const NgramEntry& entry = table_[i & mask_];
      if (entry.word == word && entry.state == state) return &entry;
      if (entry.word == kUnknownWord) return nullptr;
    }
  }
  // Every n-gram but the unigrams.
  template <typename Take>
  void each_entry(Take&& take) const {
    for (uint64_t i = 0; i <= mask_; ++i)
      if (table_[i].word != kUnknownWord) take(table_[i]);
  }
  uint32_t begin() const { return header_->begin; }
  uint32_t order() const { return header_->order; }
  uint32_t words() const { return header_->words; }
  uint32_t states() const { return header_->states; }
  uint32_t end_word() const { return header_->end; }
  // No word has a larger log10 probability, whatever is before it; above 0 where backoffs lift one above 1.
  float largest() const { return header_->largest; }
  std::string_view word(uint32_t id) const;
  uint32_t find(std::string_view word) const;  // kUnknownWord if there is none
  // Writes the image; the caller renames the file into place.
  void save(const std::string& path, uint64_t source_size, uint64_t source_time) const;

 private:
  Ngram() = default;
  bool attach(const uint8_t* data, size_t size);

  std::vector<uint8_t> image_;
  const uint8_t* mapped_ = nullptr;
  size_t mapped_size_ = 0;
  const uint8_t* data_ = nullptr;
  const NgramHeader* header_ = nullptr;
  const NgramUnigram* unigrams_ = nullptr;
  const NgramState* states_ = nullptr;
  const NgramEntry* table_ = nullptr;
  const uint32_t* offsets_ = nullptr;
  const uint32_t* sorted_ = nullptr;
  const char* text_ = nullptr;
  uint64_t mask_ = 0;
};

inline Scored Ngram::score(uint32_t state, uint32_t word) const {
  if (word == kUnknownWord) word = header_->unknown;
  float backoff = 0.0f;
  while (state) {
    if (const NgramEntry* found = entry(state, word)) return {static_cast<double>(backoff + found->log10), found->next};
    backoff += states_[state].backoff;
    state = states_[state].suffix;
  }
  const NgramUnigram& unigram = unigrams_[word];
  return {static_cast<double>(backoff + unigram.log10), unigram.next};
}

class NgramLanguage final : public Language {
 public:
  explicit NgramLanguage(std::shared_ptr<const Ngram> model) : model_(std::move(model)) {}
  uint32_t begin() override { return model_->begin(); }
  Scored score(uint32_t state, uint32_t word) override { return model_->score(state, word); }
  double score_end(uint32_t state) override { return model_->score(state, model_->end_word()).log10; }

 private:
  std::shared_ptr<const Ngram> model_;
};

}  // namespace ctc
