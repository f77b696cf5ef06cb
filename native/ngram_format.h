#pragma once

#include <cstddef>
#include <cstdint>

namespace ctc {

constexpr char kNgramMagic[9] = "DS2NGRAM";
constexpr uint32_t kNgramVersion = 2;
constexpr size_t kNgramHeaderSize = 192;

uint64_t ngram_checksum(const uint8_t* data, size_t size);

}  // namespace ctc
