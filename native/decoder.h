// A decoder as Python holds it: a task, its weights, and searches to do it with.
#pragma once

#include <memory>
#include <mutex>
#include <stdexcept>
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
  void give_back(std::unique_ptr<Search> search) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.size() < 16) idle_.push_back(std::move(search));
  }
  std::shared_ptr<const Weights> weights() const {
    if (!weights_) throw std::logic_error("the decoder has no options yet");
    return weights_;
  }
  bool asks_python() const { return asks_python_; }
  void set_options(const Options& options) { weights_ = make_weights(*task_, options); }

 private:
  std::shared_ptr<const Task> task_;
  std::shared_ptr<const Weights> weights_;
  nb::object language_;
  bool asks_python_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Search>> idle_;
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
