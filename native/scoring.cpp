#include "scoring.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace ctc {

namespace {
constexpr double kSlack = 1e-4;        // for the rounding of single precision, and what a log10 of 0 may be above it
constexpr double kMostWords = 1e6;     // of the Python original's count; options.py has the same
constexpr double kLargestAlpha = 1e6;  // keeps every product finite

void refuse(const Options& options, const std::string& what, double reward) {
  std::ostringstream message;
  message << "alpha (" << options.alpha << ") times " << what << " would add " << reward
          << " to the score of a prefix, but the search reaches " << kRange
          << " (natural logarithms) at most; lower alpha or beta, or use another language model.";
  throw std::invalid_argument(message.str());
}

// The beginning of the first word ranks by what it can become.
void check_promise(const Task& task, const Weights& weights) {
  const auto best = weights.successors->best(task.model->begin(), Lexicon::root());
  const double promise = std::max(weights.scale * static_cast<double>(best.backoff),
                                  weights.scale * static_cast<double>(best.listed) - weights.any_word);
  if (promise > kRange) refuse(weights.options, "what the language model promises the first word", promise);
}

}  // namespace

std::shared_ptr<const Weights> make_weights(const Task& task, const Options& options) {
  auto weights = std::make_shared<Weights>();
  weights->options = options;
  double bonus = 0.0;
  for (double b : task.bonus) bonus = std::max(bonus, b);
  if (options.alpha > kLargestAlpha) throw std::invalid_argument("alpha must be at most 1000000, but is " + std::to_string(options.alpha) + ".");
  // Alpha is at least 0, and a delimiter that ends no word adds nothing. The Python original's word count has no bound.
  const double beta = task.has_model ? std::max(options.beta, 0.0) : 0.0;
  const double scale = task.has_model ? options.alpha * (options.compat == Compat::baidu ? 1.0 : kLn10) : 0.0;
  const double most = std::max(task.largest_log10, 0.0);
  const double lifted = scale * (most + kSlack * std::max(most, 1.0));
  const double reward = bonus + (options.compat == Compat::python ? std::log(kMostWords) : 1.0) * beta + scale * most;
  if (most > 0.0 && !(reward <= kRange)) refuse(options, "the largest log-probability of a word", reward);
  weights->largest_factor = options.compat == Compat::python && beta > 0
                                ? std::numeric_limits<double>::infinity()
                                : std::exp(bonus + beta + lifted);
  weights->largest_delimiter = weights->largest_factor;
  if (options.lookahead && task.has_model && task.unit == Unit::word) {
    Options without_beta = options;
    without_beta.beta = 0.0;
    std::vector<double> value(task.unigram.size());
    for (size_t i = 0; i < value.size(); ++i)
      value[i] = task.bonus[i] + weigh(without_beta, task.unigram[i], 1, task.known[i] != 0);
    weights->ahead = task.lexicon->best_below(value);
    // Relative to the beginning of a word, which can become the most probable of all: no letter adds anything.
    const double any_word = std::isfinite(weights->ahead[0]) ? weights->ahead[0] : 0.0;
    for (double& a : weights->ahead) a -= any_word;
    weights->ahead[0] = 0.0;
    weights->largest_delimiter = std::numeric_limits<double>::infinity();
    if (task.model && task.lexicon->is_tree()) {
      weights->successors = task.successors();
      weights->any_word = any_word;
      weights->scale = scale;
      check_promise(task, *weights);
      // A word adds at most what it promised, beta and bonus aside, and the next one can promise no more than this.
      const auto most = weights->successors->most();
      const double promised = std::max(weights->scale * std::max(static_cast<double>(most.listed), 0.0),
                                       any_word + weights->scale * static_cast<double>(most.backoff));
      weights->largest_delimiter = weights->largest_factor * std::exp(promised + scale * kSlack);
    }
    if (task.lexicon->is_tree()) {
      const auto parents = task.lexicon->parents();
      weights->step.resize(parents.size());
      for (size_t i = 0; i < parents.size(); ++i)
        weights->step[i] = std::exp(weights->ahead[i] - weights->ahead[parents[i]]);
    }
  }
  return weights;
}

}  // namespace ctc
