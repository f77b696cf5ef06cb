// Reads ARPA files piece by piece.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ctc {

struct NgramHeader;

class ArpaReader {
 public:
  // Takes the next bytes of the file. Throws std::invalid_argument, naming the line, where they are no ARPA.
  void feed(std::string_view bytes);
  // After the last piece: the model as a file image (see ngram.h). Throws where the file ended early.
  std::vector<uint8_t> finish();

 private:
  struct Entry {
    uint32_t context, word;  // the n-gram without its last word (an entry), and that word
    uint32_t suffix;         // the longest n-gram that ends this one (an entry), kNoEntry for a unigram
    float log10, backoff;
  };

  [[noreturn]] void fail(const std::string& what) const;
  void line(std::string_view text);
  void count_line(std::string_view text);
  void section_line(std::string_view text);
  void close_section();
  void ngram_line(std::string_view text);
  void add_unigram(std::string_view word, float log10, float backoff);
  void add_ngram(const std::string_view* words, uint32_t order, float log10, float backoff);
  uint32_t word_id(std::string_view word) const;
  uint32_t find(uint32_t context, uint32_t word) const;
  void insert(uint32_t entry);
  uint32_t state_of(uint32_t entry) const;
  uint32_t number_states();
  float largest(uint32_t states) const;
  uint64_t lay_out(NgramHeader* header) const;
  void fill(std::vector<uint8_t>& image, const NgramHeader& header) const;

  std::string rest_;  // an unfinished line
  uint64_t line_ = 0;
  bool in_data_ = false, ended_ = false;
  uint32_t section_ = 0;  // order being read; 0: the counts
  std::vector<uint64_t> promised_;
  uint64_t found_ = 0;

  std::string text_;
  std::vector<uint32_t> offsets_{0};
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<Entry> entries_;       // unigrams first: the entry of a word is its id
  std::vector<uint32_t> table_;      // hash of (context, word) -> entry
  std::vector<uint8_t> has_children_;
  std::vector<uint32_t> states_;     // by entry: its state, or 0
};

}  // namespace ctc
