// A language model written in Python, such as KenLM's package, as the search asks it.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "language.h"

namespace ctc {

namespace nb = nanobind;

// Every answer is remembered as long as the search can ask again.
class PythonLanguage final : public Language {
 public:
  explicit PythonLanguage(nb::object session) : session_(std::move(session)) {}
  ~PythonLanguage() override {
    nb::gil_scoped_acquire lock;
    session_.reset();
  }
  uint32_t begin() override {
    nb::gil_scoped_acquire lock;
    answers_.clear();
    return nb::cast<uint32_t>(session_.attr("begin")());
  }
  Scored score(uint32_t state, uint32_t word) override {
    const uint64_t key = uint64_t{state} << 32 | word;
    const auto known = answers_.find(key);
    if (known != answers_.end()) return known->second;
    nb::gil_scoped_acquire lock;
    const nb::tuple answer = nb::cast<nb::tuple>(session_.attr("score")(state, static_cast<int64_t>(word)));
    const Scored scored{nb::cast<double>(answer[0]), nb::cast<uint32_t>(answer[1])};
    answers_.emplace(key, scored);
    return scored;
  }
  double score_end(uint32_t state) override {
    nb::gil_scoped_acquire lock;
    return nb::cast<double>(session_.attr("score_end")(state));
  }
  void keep(const std::vector<uint32_t>& states) override {
    const auto kept = [&](uint64_t state) {
      return std::binary_search(states.begin(), states.end(), static_cast<uint32_t>(state));
    };
    for (auto answer = answers_.begin(); answer != answers_.end();)
      answer = kept(answer->first >> 32) && kept(answer->second.state) ? std::next(answer) : answers_.erase(answer);
    nb::gil_scoped_acquire lock;
    nb::list numbers;
    for (const uint32_t state : states) numbers.append(state);
    session_.attr("keep")(numbers);
  }
  size_t memory() const override {
    constexpr size_t kAnswer = sizeof(uint64_t) + sizeof(Scored) + 2 * sizeof(void*);
    return answers_.size() * kAnswer + answers_.bucket_count() * sizeof(void*);
  }

 private:
  nb::object session_;
  std::unordered_map<uint64_t, Scored> answers_;
};

}  // namespace ctc
