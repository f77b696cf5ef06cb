#include "scoring.h"

#include <algorithm>
#include <limits>

namespace ctc {

namespace {
constexpr double kSlack = 1e-4;  // for the rounding of single precision
}  // namespace

std::shared_ptr<const Weights> make_weights(const Task& task, const Options& options) {
  auto weights = std::make_shared<Weights>();
  weights->options = options;
  double bonus = 0.0;
  for (double b : task.bonus) bonus = std::max(bonus, b);
  // log10 P is at most 0, alpha at least 0, and a delimiter that ends no word adds nothing. The Python original's word
  // count has no bound.
  const double beta = task.has_model ? options.beta : 0.0;
  weights->largest_factor = options.compat == Compat::python && beta > 0
                                ? std::numeric_limits<double>::infinity()
                                : std::exp(bonus + (options.compat == Compat::python ? 0.0 : std::max(beta, 0.0)));
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
      weights->scale = options.alpha * (options.compat == Compat::baidu ? 1.0 : kLn10);
      // A word adds at most what it promised, beta and bonus aside, and the next one can promise no more than this.
      const auto most = weights->successors->most();
      const double promised = std::max(weights->scale * std::max(static_cast<double>(most.listed), 0.0),
                                       any_word + weights->scale * static_cast<double>(most.backoff));
      weights->largest_delimiter = weights->largest_factor * std::exp(promised + kSlack);
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
