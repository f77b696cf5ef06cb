#include "team.h"

#ifdef __linux__
#include <dlfcn.h>
#include <link.h>

#include <cstring>
#include <string>
#endif

namespace recurrence {

#ifdef __linux__
namespace {

// GOMP_parallel is the entry that compilers call; the libraries of GCC, LLVM and Intel all have it.
bool find_in(const char* path, OpenMP& found) {
  void* library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return false;
  found.parallel = reinterpret_cast<decltype(found.parallel)>(dlsym(library, "GOMP_parallel"));
  found.index = reinterpret_cast<decltype(found.index)>(dlsym(library, "omp_get_thread_num"));
  found.team = reinterpret_cast<decltype(found.team)>(dlsym(library, "omp_get_num_threads"));
  return found.parallel && found.index && found.team;  // the handle is kept: so is the library
}

// Of several the one in torch's own folder, where its wheels bring one, and otherwise the first.
// The libraries are opened only afterwards: the walk holds a lock that opening takes, too.
int visit(dl_phdr_info* information, size_t, void* data) {
  std::string& chosen = *static_cast<std::string*>(data);
  const char* path = information->dlpi_name;
  const char* name = path ? std::strrchr(path, '/') : nullptr;
  if (!name) return 0;
  const bool openmp = std::strstr(name, "libgomp") || std::strstr(name, "libiomp") || std::strstr(name, "libomp");
  const bool of_torch = std::strstr(path, "/torch/") || std::strstr(path, "/torch.libs/");
  if (openmp && (of_torch || chosen.empty())) chosen = path;
  return openmp && of_torch;
}

}  // namespace

const OpenMP* loaded_openmp() {
  static OpenMP found{};
  static const bool any = [] {
    std::string path;
    dl_iterate_phdr(visit, &path);
    return !path.empty() && find_in(path.c_str(), found);
  }();
  return any ? &found : nullptr;
}
#else
const OpenMP* loaded_openmp() { return nullptr; }
#endif

}  // namespace recurrence
