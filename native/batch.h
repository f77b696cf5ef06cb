// Several utterances on threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "decoder.h"

namespace ctc {

// Each thread takes the longest utterance that is left, so that none works alone for long at the end.
class Batch {
 public:
  Batch(Decoder& decoder, std::vector<Rows> utterances)
      : decoder_(decoder), weights_(decoder.weights()), utterances_(std::move(utterances)) {
    order_.resize(utterances_.size());
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [this](size_t a, size_t b) { return utterances_[a].count > utterances_[b].count; });
    outcomes_.resize(utterances_.size());
  }

  // Called without the interpreter lock. An interruption or an error ends it when the utterances begun are done.
  void run(size_t threads) {
    const size_t wanted = std::min(threads, utterances_.size());
    std::vector<std::thread> workers;
    running_ = wanted;
    try {
      while (workers.size() < wanted) workers.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // No more threads to be had: those there are do the work, or this one does.
      std::lock_guard<std::mutex> lock(mutex_);
      running_ -= wanted - workers.size();
    }
    if (workers.empty() && wanted > 0) {
      running_ = 1;
      work();
    }
    wait();
    for (auto& worker : workers) worker.join();
    if (error_) std::rethrow_exception(error_);
  }
  const std::vector<Outcome>& outcomes() const { return outcomes_; }

 private:
  void work() {
    std::exception_ptr error;
    try {
      std::optional<nb::gil_scoped_acquire> thread_state;
      std::optional<nb::gil_scoped_release> unlocked;
      if (decoder_.asks_python()) {
        // The interpreter keeps what it knows of this thread from one question to the next.
        thread_state.emplace();
        unlocked.emplace();
      }
      for (size_t next; !stopped_ && (next = taken_++) < order_.size();) {
        const size_t index = order_[next];
        outcomes_[index] = decode_rows(decoder_, weights_, utterances_[index]);
      }
    } catch (...) {
      error = std::current_exception();
      stopped_ = true;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (error && !error_) error_ = error;
    --running_;
    done_.notify_all();
  }
  // Until the workers are done; looks now and then whether the user interrupts.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (running_ > 0) {
      if (done_.wait_for(lock, std::chrono::milliseconds(100), [this] { return running_ == 0; })) return;
      lock.unlock();
      {
        nb::gil_scoped_acquire interpreter;
        if (PyErr_CheckSignals() != 0) {
          stopped_ = true;
          const std::exception_ptr interrupted = std::make_exception_ptr(nb::python_error());
          std::lock_guard<std::mutex> again(mutex_);
          if (!error_) error_ = interrupted;
        }
      }
      lock.lock();
    }
  }

  Decoder& decoder_;
  std::shared_ptr<const Weights> weights_;
  std::vector<Rows> utterances_;
  std::vector<size_t> order_;
  std::vector<Outcome> outcomes_;
  std::atomic<size_t> taken_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::condition_variable done_;
  size_t running_ = 0;
  std::exception_ptr error_;
};

}  // namespace ctc
