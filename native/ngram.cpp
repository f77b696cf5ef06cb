#include "ngram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define CTC_MMAP
#endif

#include "ngram_format.h"

namespace ctc {

uint64_t ngram_checksum(const uint8_t* data, size_t size) {
  uint64_t lane[4] = {1, 2, 3, 4};
  size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    for (size_t j = 0; j < 4; ++j) {
      uint64_t word;
      std::memcpy(&word, data + i + 8 * j, 8);
      lane[j] = (lane[j] ^ word) * 0x9FB21C651E98DF25u;
      lane[j] ^= lane[j] >> 32;
    }
  }
  uint64_t h = size;
  for (uint64_t l : lane) h = (h ^ l) * 0xD6E8FEB86659FD93u, h ^= h >> 32;
  for (; i < size; ++i) h = (h ^ data[i]) * 0xD6E8FEB86659FD93u, h ^= h >> 32;
  return h;
}

namespace {

// Whether a section of `count` elements lies behind the header and within the file, aligned.
bool fits(uint64_t at, uint64_t count, uint64_t element, uint64_t size) {
  return at % 64 == 0 && at >= sizeof(NgramHeader) && at <= size && count <= (size - at) / element;
}

}  // namespace

bool Ngram::attach(const uint8_t* data, size_t size) {
  if (size < kNgramHeaderSize) return false;
  const auto* h = reinterpret_cast<const NgramHeader*>(data);
  if (std::memcmp(h->magic, kNgramMagic, 8) != 0 || h->version != kNgramVersion) return false;
  if (h->size != size - kNgramHeaderSize) return false;
  const bool sections = fits(h->unigrams_at, h->words, sizeof(NgramUnigram), size) &&
                        fits(h->states_at, h->states, sizeof(NgramState), size) &&
                        fits(h->table_at, h->slots, sizeof(NgramEntry), size) &&
                        fits(h->offsets_at, uint64_t{h->words} + 1, 4, size) && fits(h->sorted_at, h->words, 4, size) &&
                        fits(h->text_at, 0, 1, size);
  if (!sections || !h->words || !h->states || !h->slots || (h->slots & (h->slots - 1))) return false;
  if (h->begin >= h->states || h->unknown >= h->words || h->end >= h->words || !std::isfinite(h->largest)) return false;
  if (h->checksum != ngram_checksum(data + kNgramHeaderSize, h->size)) return false;
  data_ = data;
  header_ = h;
  unigrams_ = reinterpret_cast<const NgramUnigram*>(data + h->unigrams_at);
  states_ = reinterpret_cast<const NgramState*>(data + h->states_at);
  table_ = reinterpret_cast<const NgramEntry*>(data + h->table_at);
  offsets_ = reinterpret_cast<const uint32_t*>(data + h->offsets_at);
  sorted_ = reinterpret_cast<const uint32_t*>(data + h->sorted_at);
  text_ = reinterpret_cast<const char*>(data + h->text_at);
  mask_ = h->slots - 1;
  return true;
}

std::shared_ptr<Ngram> Ngram::from_memory(std::vector<uint8_t> image) {
  std::shared_ptr<Ngram> model(new Ngram);
  model->image_ = std::move(image);
  if (!model->attach(model->image_.data(), model->image_.size())) throw std::invalid_argument("the n-gram image is damaged");
  return model;
}

std::shared_ptr<Ngram> Ngram::from_file(const std::string& path, uint64_t source_size, uint64_t source_time) {
  std::shared_ptr<Ngram> model(new Ngram);
#ifdef CTC_MMAP
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return nullptr;
  struct stat status {};
  if (::fstat(file, &status) == 0 && status.st_size > 0) {
    model->mapped_size_ = static_cast<size_t>(status.st_size);
    void* at = ::mmap(nullptr, model->mapped_size_, PROT_READ, MAP_PRIVATE, file, 0);
    model->mapped_ = at == MAP_FAILED ? nullptr : static_cast<const uint8_t*>(at);
  }
  ::close(file);
  if (!model->mapped_ || !model->attach(model->mapped_, model->mapped_size_)) return nullptr;
#else
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return nullptr;
  uint8_t buffer[1 << 16];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
    model->image_.insert(model->image_.end(), buffer, buffer + n);
  std::fclose(file);
  if (!model->attach(model->image_.data(), model->image_.size())) return nullptr;
#endif
  if (model->header_->source_size != source_size || model->header_->source_time != source_time) return nullptr;
  return model;
}

Ngram::~Ngram() {
#ifdef CTC_MMAP
  if (mapped_) ::munmap(const_cast<uint8_t*>(mapped_), mapped_size_);
#endif
}

std::string_view Ngram::word(uint32_t id) const { return {text_ + offsets_[id], offsets_[id + 1] - offsets_[id]}; }

uint32_t Ngram::find(std::string_view wanted) const {
  const uint32_t* end = sorted_ + header_->words;
  const uint32_t* found =
      std::lower_bound(sorted_, end, wanted, [this](uint32_t id, std::string_view w) { return word(id) < w; });
  return found != end && word(*found) == wanted ? *found : kUnknownWord;
}

void Ngram::save(const std::string& path, uint64_t source_size, uint64_t source_time) const {
  NgramHeader header = *header_;
  header.source_size = source_size;
  header.source_time = source_time;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) throw std::runtime_error("cannot write");
  char head[kNgramHeaderSize] = {};
  std::memcpy(head, &header, sizeof header);
  const bool good = std::fwrite(head, 1, sizeof head, file) == sizeof head &&
                    std::fwrite(data_ + kNgramHeaderSize, 1, header.size, file) == header.size;
  if (std::fclose(file) != 0 || !good) throw std::runtime_error("cannot write");
}

}  // namespace ctc
