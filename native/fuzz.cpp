// Random and damaged input under the sanitizers: `make sanitize` builds and runs this. Exits with 1 where a result is
// wrong; the sanitizers stop it where memory or arithmetic is.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>

#include "arpa.h"
#include "ngram.h"
#include "search.h"

using namespace ctc;

namespace {

using Random = std::mt19937_64;

int pick(Random& random, int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }
double fraction(Random& random) { return std::uniform_real_distribution<double>(0, 1)(random); }

#define EXPECT(condition)                                                      \
  do {                                                                         \
    if (!(condition)) {                                                        \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                            \
    }                                                                          \
  } while (false)

// Every fourth lifts words above probability 1.
std::string arpa(Random& random, const std::vector<std::string>& words) {
  const std::string backoff = pick(random, 0, 3) ? "-0.25" : std::to_string(100 * fraction(random));
  std::string text = "\\data\\\nngram 1=" + std::to_string(words.size() + 3) + "\nngram 2=" +
                     std::to_string(words.size()) + "\n\n\\1-grams:\n-1.2\t<s>\t-0.5\n-1\t</s>\n-2\t<unk>\n";
  for (const auto& word : words) text += std::to_string(-3 * fraction(random)) + "\t" + word + "\t" + backoff + "\n";
  text += "\n\\2-grams:\n";
  for (const auto& word : words) text += "-0.5\t<s> " + word + "\n";
  return text + "\n\\end\\\n";
}

std::shared_ptr<Ngram> read(const std::string& text, Random& random) {
  ArpaReader reader;
  for (size_t at = 0; at < text.size();) {
    const size_t piece = std::min<size_t>(text.size() - at, static_cast<size_t>(pick(random, 1, 400)));
    reader.feed(std::string_view(text).substr(at, piece));
    at += piece;
  }
  return Ngram::from_memory(reader.finish());
}

// Any change of any byte must give a model or an exception.
void damaged_arpa(Random& random, const std::vector<std::string>& words) {
  std::string text = arpa(random, words);
  for (int i = pick(random, 1, 6); i > 0 && !text.empty(); --i) {
    const size_t at = static_cast<size_t>(pick(random, 0, static_cast<int>(text.size()) - 1));
    switch (pick(random, 0, 3)) {
      case 0: text[at] = static_cast<char>(pick(random, 0, 255)); break;
      case 1: text.erase(at, static_cast<size_t>(pick(random, 1, 30))); break;
      case 2: text.insert(at, text.substr(static_cast<size_t>(pick(random, 0, static_cast<int>(at))), 20)); break;
      default: text.resize(at + 1);
    }
  }
  try {
    const auto model = read(text, random);
    for (uint32_t word = 0; word < model->words(); ++word) {
      Scored scored = model->score(model->begin(), word);
      EXPECT(scored.state < model->states());
      EXPECT(!std::isnan(model->score(scored.state, kUnknownWord).log10));
    }
  } catch (const std::invalid_argument&) {
  }
}

void damaged_image(Random& random, const std::vector<std::string>& words) {
  const std::string text = arpa(random, words);
  ArpaReader reader;
  reader.feed(text);
  std::vector<uint8_t> image = reader.finish();
  EXPECT(Ngram::from_memory(image)->words() == words.size() + 3);
  if (pick(random, 0, 1)) image.resize(static_cast<size_t>(pick(random, 0, static_cast<int>(image.size()) - 1)));
  else image[static_cast<size_t>(pick(random, 192, static_cast<int>(image.size()) - 1))] ^= 1;
  try {
    Ngram::from_memory(image);
    EXPECT(!"a damaged image was taken");
  } catch (const std::invalid_argument&) {
  }
}

std::vector<float> posteriors(Random& random, int frames, int columns) {
  std::vector<float> rows;
  const double spread = pick(random, 0, 1) ? 2.0 : 40.0;
  const bool uniform = pick(random, 0, 9) == 0;
  for (int t = 0; t < frames; ++t) {
    std::vector<double> p(static_cast<size_t>(columns));
    double sum = 0;
    for (double& x : p) sum += x = uniform ? 1.0 : std::exp(spread * fraction(random));
    for (double x : p) rows.push_back(static_cast<float>(std::log(x / sum)));
  }
  if (pick(random, 0, 9) == 0)
    rows[static_cast<size_t>(pick(random, 0, frames * columns - 1))] = pick(random, 0, 1) ? NAN : HUGE_VALF;
  return rows;
}

std::shared_ptr<Task> task(Random& random, int columns, const std::vector<std::string>& labels,
                           const std::vector<std::string>& words, const std::shared_ptr<Ngram>& model) {
  auto t = std::make_shared<Task>();
  t->columns = columns;
  t->blank = columns - 1;
  t->delimiter = 0;
  t->spelling = labels;
  t->has_model = model != nullptr;
  t->model = model;
  if (model) t->largest_log10 = static_cast<double>(model->largest());
  if (pick(random, 0, 4) == 0) t->silent.push_back(pick(random, 1, columns - 2));
  if (!model && pick(random, 0, 1)) return t;
  t->unit = model && pick(random, 0, 4) == 0 ? Unit::label : Unit::word;
  t->closed = model && t->unit == Unit::word && pick(random, 0, 2);
  t->pauses = t->closed && pick(random, 0, 1);
  auto letters = labels;
  letters[0].clear();
  const auto& items = t->unit == Unit::word ? words : labels;
  for (const auto& item : items) {
    const uint32_t id = model ? model->find(item) : kUnknownWord;
    t->model_word.push_back(id);
    t->known.push_back(id != kUnknownWord);
    t->bonus.push_back(fraction(random));
    t->unigram.push_back(model ? model->score(0, id).log10 : 0.0);
  }
  if (t->unit == Unit::word) t->lexicon = std::make_shared<Lexicon>(letters, 0, words);
  return t;
}

// The kernels by themselves, beside the standard library.
void numbers(Random& random) {
  const int count = pick(random, 1, pick(random, 0, 1) ? 40 : 2000);
  const double reach = pick(random, 0, 1) ? 3.0 : 708.0;
  // Some from a few values, so that there are equal ones.
  const int kinds = pick(random, 0, 2) ? 1000000 : 5;
  std::vector<double> in, out(static_cast<size_t>(count) + kPadding), scratch(3 * (static_cast<size_t>(count) + kPadding));
  for (int i = 0; i < count; ++i) in.push_back(-reach * pick(random, 0, kinds) / kinds);
  const double sum = kernels().exp_double(in.data(), count, out.data());
  double all = 0.0;
  for (int i = 0; i < count; ++i) {
    const double x = out[static_cast<size_t>(i)], right = std::exp(in[static_cast<size_t>(i)]);
    // One unit in the last place, and half of one that the standard library may be off.
    EXPECT(std::fabs(x - right) <= 1.5 * (std::nextafter(right, 2.0) - right));
    all += x;
  }
  EXPECT(std::fabs(sum - all) <= 1e-9 * all);
  const int rank = pick(random, 1, pick(random, 0, 1) ? std::max(count / 20, 1) : count);
  in.assign(out.begin(), out.begin() + count);
  std::vector<double> sorted = in;
  std::sort(sorted.begin(), sorted.end(), std::greater<double>());
  const double least = sorted[static_cast<size_t>(rank) - 1];
  EXPECT(kernels().select(out.data(), count, rank, scratch.data()) == least);
  std::vector<int32_t> found(static_cast<size_t>(count) + kPadding), slots;
  for (int i = 0; i < count; ++i)
    if (in[static_cast<size_t>(i)] >= least) slots.push_back(i);
  found.resize(static_cast<size_t>(kernels().reaching(out.data(), count, least, found.data())));
  EXPECT(found == slots);
}

void decode(Random& random) {
  const int kind = pick(random, 0, 7);
  const int columns = kind > 1 ? pick(random, 3, 8) : kind ? pick(random, 60, 200) : pick(random, 500, 900);
  std::vector<std::string> labels{" "};
  for (int c = 1; c < columns - 1; ++c) labels.push_back(c < 26 ? std::string(1, static_cast<char>('a' + c)) : "x" + std::to_string(c));
  labels.emplace_back();
  std::vector<std::string> words{"b", "bb", "bcb", "cc", "bc", "zz", "x30b"};
  std::shared_ptr<Ngram> model = pick(random, 0, 3) ? read(arpa(random, words), random) : nullptr;
  auto t = task(random, columns, labels, words, model);
  Options o;
  o.beam_size = pick(random, 1, pick(random, 0, 1) ? 12 : 150);
  o.cutoff_top_n = pick(random, 1, pick(random, 0, 1) ? 40 : columns + 3);
  o.cutoff_prob = pick(random, 0, 1) ? 1.0 : std::min(fraction(random) + 0.01, 1.0);
  o.alpha = fraction(random);
  o.beta = 3 * fraction(random) - 1.5;
  o.beam_threshold = pick(random, 0, 1) ? 600.0 : 10 * fraction(random);
  o.score_end = pick(random, 0, 1);
  o.lookahead = t->closed && pick(random, 0, 1);
  o.recombine = pick(random, 0, 1);
  o.compat = static_cast<Compat>(pick(random, 0, 2));
  Search search(t, model ? std::make_unique<NgramLanguage>(model) : nullptr);
  const auto weights = make_weights(*t, o);
  for (int round = 0; round < 2; ++round) {
    search.restart(o, weights);
    const int frames = pick(random, 1, pick(random, 0, 5) ? 40 : 600);
    const auto rows = posteriors(random, frames, columns);
    RowFault fault = RowFault::none;
    for (int i = 0; i < frames && fault == RowFault::none; ++i) fault = search.step(rows.data() + static_cast<size_t>(i * columns));
    if (fault != RowFault::none) continue;
    const auto results = search.finish();
    EXPECT(!results.empty() && results.size() <= static_cast<size_t>(std::min(o.beam_size, o.n_best)));
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT(results[i].acoustic <= frames * 0.03);
      EXPECT(!i || results[i - 1].acoustic + results[i - 1].language >= results[i].acoustic + results[i].language);
      int32_t before = 0;
      for (const LabelTime& label : results[i].labels) {
        EXPECT(label.start >= before && label.start < label.end && label.end <= frames);
        before = label.start;
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    kernels();
  } catch (const std::invalid_argument& error) {
    std::printf("skipped: %s\n", error.what());
    return 0;
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 1000;
  Random random(argc > 2 ? static_cast<uint64_t>(std::atoll(argv[2])) : 1);
  for (int round = 0; round < rounds; ++round) {
    damaged_arpa(random, {"b", "bb", "ccb"});
    damaged_image(random, {"b", "bb", "ccb"});
    numbers(random);
    decode(random);
  }
  std::printf("%d rounds with %s kernels: nothing found\n", rounds, kernels().name);
}
