// A decoder as Python holds it: a task, its weights, and searches to do it with.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "ngram.h"
#include "python_language.h"
#include "search.h"

namespace ctc {

// Searches that wait for the next utterance, so that their memory is used again.
class Decoder {
 public:
  Decoder(std::shared_ptr<Task> task, nb::object language)
      : task_(std::move(task)),
        language_(std::move(language)),
        asks_python_(!language_.is_none() && !nb::isinstance<Ngram>(language_)) {}

  // One with other hot words of the same lexicon: by word, what each occurrence adds. It has no options yet.
  std::unique_ptr<Decoder> with_bonus(const std::unordered_map<uint32_t, double>& bonus) const {
    auto task = std::make_shared<Task>(*task_);
    std::fill(task->bonus.begin(), task->bonus.end(), 0.0);
    for (const auto& [word, added] : bonus) task->bonus.at(word) = added;
    return std::make_unique<Decoder>(std::move(task), language_);
  }
  std::unique_ptr<Search> take() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        auto search = std::move(idle_.back());
        idle_.pop_back();
        return search;
      }
    }
    nb::gil_scoped_acquire lock;
    std::unique_ptr<Language> language;
    std::shared_ptr<Ngram> ngram;
    if (nb::try_cast(language_, ngram) && ngram)
      language = std::make_unique<NgramLanguage>(ngram);
    else if (!language_.is_none()) language = std::make_unique<PythonLanguage>(language_());
    return std::make_unique<Search>(task_, std::move(language));
  }
  // One that is not kept ends with the argument, behind the lock: what it asks in Python needs the interpreter's.
  void give_back(std::unique_ptr<Search> search) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.size() < 16 && search->beam_size() <= beam_size_) idle_.push_back(std::move(search));
  }
  std::shared_ptr<const Weights> weights() const {
    if (!weights_) throw std::logic_error("the decoder has no options yet");
    return weights_;
  }
  bool asks_python() const { return asks_python_; }
  // Searches made for a larger beam are let go with their memory.
  void set_options(const Options& options) {
    weights_ = make_weights(*task_, options);
    std::vector<std::unique_ptr<Search>> kept, too_large;
    std::lock_guard<std::mutex> lock(mutex_);
    beam_size_ = options.beam_size;
    for (auto& search : idle_) (search->beam_size() <= beam_size_ ? kept : too_large).push_back(std::move(search));
    idle_ = std::move(kept);
  }
  // Bytes held by searches that wait, for tests of bounded memory.
  size_t memory() {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t bytes = 0;
    for (const auto& search : idle_) bytes += search->memory();
    return bytes;
  }

 private:
  std::shared_ptr<const Task> task_;
  std::shared_ptr<const Weights> weights_;
  nb::object language_;
  bool asks_python_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Search>> idle_;
  int beam_size_ = 0;
};

struct Fault {
  RowFault kind = RowFault::none;
  int64_t row = -1;
};

template <typename Number>
Fault run(Search& search, const Number* rows, size_t count, size_t columns) {
  for (size_t row = 0; row < count; ++row) {
    const RowFault fault = search.step(rows + row * columns);
    if (fault != RowFault::none) return {fault, static_cast<int64_t>(row)};
  }
  return {};
}

template <typename Number>
Fault check(Search& search, const Number* rows, size_t count, size_t columns) {
  for (size_t row = 0; row < count; ++row)
    if (!search.normalised(rows + row * columns)) return {RowFault::not_normalised, static_cast<int64_t>(row)};
  return {};
}

// One utterance's rows, of either type.
struct Rows {
  const float* singles = nullptr;
  const double* doubles = nullptr;
  size_t count = 0, columns = 0;
};

struct Outcome {
  Fault fault;
  std::vector<Result> results;
  Tally tally;
};

inline Outcome decode_rows(Decoder& decoder, const std::shared_ptr<const Weights>& weights, const Rows& rows) {
  Outcome out;
  auto search = decoder.take();
  search->restart(weights->options, weights);
  out.fault = rows.singles ? run(*search, rows.singles, rows.count, rows.columns)
                           : run(*search, rows.doubles, rows.count, rows.columns);
  if (out.fault.kind == RowFault::none) out.results = search->finish();
  out.tally = search->tally();
  decoder.give_back(std::move(search));
  return out;
}

}  // namespace ctc
