// Chooses the kernels for this processor.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels.h"

namespace ctc {

namespace portable {
extern const Kernels table;
}
#ifdef CTC_X86
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

namespace {

const Kernels& choose() {
  const char* forced = std::getenv("DEEPSPEECH2_SIMD");
  const std::string wanted = forced ? forced : "";
  if (wanted == "portable") return portable::table;
#ifdef CTC_X86
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2");
  // All that CMakeLists.txt compiles these kernels for.
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if ((wanted.empty() || wanted == "avx512") && has_avx512) return avx512::table;
  if ((wanted.empty() || wanted == "avx2") && has_avx2) return avx2::table;
#endif
  if (wanted.empty()) return portable::table;
  throw std::invalid_argument("DEEPSPEECH2_SIMD should be portable, avx2 or avx512 and within what this processor runs, but is '" +
                              wanted + "'.");
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace ctc
