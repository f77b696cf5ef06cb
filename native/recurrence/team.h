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
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    if (threads_ == 1) return;
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
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
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

struct Member {
  int index;
  int team;
  Barrier& barrier;
};

// Runs body(Member) on so many threads, the caller's being one; on fewer if the system gives no more. Threads live
// for one call: nothing survives a fork, and nothing waits between calls. The body must not throw.
template <class Body>
void run_team(int threads, const Body& body) {
  std::atomic<Barrier*> ready{nullptr};
  std::atomic<int> team{0};
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int index = 1; index < threads; ++index)
      others.emplace_back([&, index] {
        Barrier* barrier;
        while (!(barrier = ready.load(std::memory_order_acquire))) std::this_thread::yield();
        body(Member{index, team.load(std::memory_order_relaxed), *barrier});
      });
  } catch (const std::system_error&) {
  }
  const int size = static_cast<int>(others.size()) + 1;
  Barrier barrier(size);
  team.store(size, std::memory_order_relaxed);
  ready.store(&barrier, std::memory_order_release);
  body(Member{0, size, barrier});
  for (auto& thread : others) thread.join();
}

}  // namespace recurrence
