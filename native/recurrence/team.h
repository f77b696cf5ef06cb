// Threads that go through the same steps together.
#pragma once

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace recurrence {

// All threads of a team wait for each other. Spins, since a step takes microseconds, and after a while gives way:
// the other thread may be waiting for this very processor.
class Barrier {
 public:
  void wait(int team) {
    if (team == 1) return;
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == team) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins < 512) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

struct Member {
  int index;
  int team;
  Barrier& barrier;
  void wait() const { barrier.wait(team); }
};

// The OpenMP library that whoever loaded this module computes with. Its threads keep spinning for milliseconds after
// a matrix product: threads of one's own would share processors with them.
struct OpenMP {
  void (*parallel)(void (*function)(void*), void* data, unsigned threads, unsigned flags);
  int (*index)();
  int (*team)();
};

// Null where none is loaded.
const OpenMP* loaded_openmp();

// Runs body(Member) on so many threads, the caller's being one; on fewer if there are no more. Threads of one's own
// live for one call: nothing of them survives a fork. The body must not throw.
template <class Body>
void run_team(int threads, const Body& body) {
  Barrier barrier;
  if (threads == 1) return body(Member{0, 1, barrier});
  if (const OpenMP* library = loaded_openmp()) {
    struct Call {
      const Body& body;
      Barrier& barrier;
      const OpenMP& library;
    } call{body, barrier, *library};
    const auto run = [](void* data) {
      const Call& one = *static_cast<Call*>(data);
      one.body(Member{one.library.index(), one.library.team(), one.barrier});
    };
    library->parallel(run, &call, static_cast<unsigned>(threads), 0);
    return;
  }
  std::atomic<int> team{0};
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int index = 1; index < threads; ++index)
      others.emplace_back([&, index] {
        while (!team.load(std::memory_order_acquire)) std::this_thread::yield();
        body(Member{index, team.load(std::memory_order_relaxed), barrier});
      });
  } catch (const std::system_error&) {
  }
  const int size = static_cast<int>(others.size()) + 1;
  team.store(size, std::memory_order_release);
  body(Member{0, size, barrier});
  for (auto& thread : others) thread.join();
}

}  // namespace recurrence
