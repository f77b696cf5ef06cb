// The Python face of the core: deepspeech2.ctc._core. Everything a person calls is in the Python modules beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "arpa.h"
#include "ngram.h"
#include "search.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace ctc {
namespace {

// A language model written in Python; every answer is remembered for the rest of the utterance.
class PythonLanguage final : public Language {
 public:
  explicit PythonLanguage(nb::object session) : session_(std::move(session)) {}
  ~PythonLanguage() override {
    nb::gil_scoped_acquire lock;
    session_.reset();
  }
  uint32_t begin() override { return state("begin"); }
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

 private:
  uint32_t state(const char* method) {
    nb::gil_scoped_acquire lock;
    answers_.clear();
    return nb::cast<uint32_t>(session_.attr(method)());
  }
  nb::object session_;
  std::unordered_map<uint64_t, Scored> answers_;
};

// Searches that wait for the next utterance, so that their memory is used again.
class Decoder {
 public:
  Decoder(std::shared_ptr<Task> task, nb::object language) : task_(std::move(task)), language_(std::move(language)) {}

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
  void set_options(const Options& options) { weights_ = make_weights(*task_, options); }

 private:
  std::shared_ptr<const Task> task_;
  std::shared_ptr<const Weights> weights_;
  nb::object language_;
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

nb::tuple answer(const Fault& fault, const std::vector<Result>& results, const Tally& tally) {
  nb::list hypotheses;
  for (const Result& r : results)
    hypotheses.append(nb::make_tuple(r.text, r.acoustic, r.language,
                                     nb::bytes(r.labels.data(), r.labels.size() * sizeof(LabelTime))));
  return nb::make_tuple(static_cast<int>(fault.kind), fault.row, hypotheses,
                        nb::make_tuple(tally.frames, tally.candidates, tally.merges, tally.created, tally.lookups));
}

template <typename Number>
using Rows = nb::ndarray<const Number, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename Number>
nb::tuple decode(Decoder& decoder, Rows<Number> rows) {
  Fault fault;
  std::vector<Result> results;
  Tally tally;
  {
    auto weights = decoder.weights();
    nb::gil_scoped_release release;
    auto search = decoder.take();
    search->restart(weights->options, weights);
    fault = run(*search, rows.data(), rows.shape(0), rows.shape(1));
    if (fault.kind == RowFault::none) results = search->finish();
    tally = search->tally();
    decoder.give_back(std::move(search));
  }
  return answer(fault, results, tally);
}

class Stream {
 public:
  explicit Stream(Decoder& decoder) {
    auto weights = decoder.weights();
    search_ = decoder.take();
    search_->restart(weights->options, weights);
  }
  template <typename Number>
  nb::tuple push(Rows<Number> rows) {
    Fault fault;
    {
      nb::gil_scoped_release release;
      std::lock_guard<std::mutex> lock(mutex_);
      // After a fault the search cannot go on; it keeps to the same answer.
      if (fault_.kind == RowFault::none) fault_ = run(*search_, rows.data(), rows.shape(0), rows.shape(1));
      fault = fault_;
    }
    return nb::make_tuple(static_cast<int>(fault.kind), fault.row);
  }
  nb::tuple best() {
    std::vector<Result> results;
    Tally tally;
    {
      nb::gil_scoped_release release;
      std::lock_guard<std::mutex> lock(mutex_);
      if (fault_.kind == RowFault::none) results = search_->peek(&tally);
    }
    return answer({}, results, tally);
  }
  size_t memory() {
    nb::gil_scoped_release release;
    std::lock_guard<std::mutex> lock(mutex_);
    return search_->memory();
  }

 private:
  // Always taken without the interpreter lock: who holds it may need that one for a model in Python.
  std::mutex mutex_;
  Fault fault_;
  std::unique_ptr<Search> search_;
};

}  // namespace
}  // namespace ctc

NB_MODULE(_core, m) {
  using namespace ctc;
  // Decoders that live until the interpreter ends are no mistake.
  nb::set_leak_warnings(false);
  m.def("simd", [] { return kernels().name; });

  nb::enum_<Unit>(m, "Unit").value("none", Unit::none).value("word", Unit::word).value("label", Unit::label);
  nb::enum_<Compat>(m, "Compat")
      .value("none", Compat::none)
      .value("python", Compat::python)
      .value("baidu", Compat::baidu);

  nb::class_<Options>(m, "Options")
      .def(nb::init<>())
      .def_rw("beam_size", &Options::beam_size)
      .def_rw("n_best", &Options::n_best)
      .def_rw("cutoff_top_n", &Options::cutoff_top_n)
      .def_rw("alpha", &Options::alpha)
      .def_rw("beta", &Options::beta)
      .def_rw("cutoff_prob", &Options::cutoff_prob)
      .def_rw("beam_threshold", &Options::beam_threshold)
      .def_rw("unknown_penalty", &Options::unknown_penalty)
      .def_rw("score_end", &Options::score_end)
      .def_rw("lookahead", &Options::lookahead)
      .def_rw("recombine", &Options::recombine)
      .def_rw("compat", &Options::compat);

  nb::class_<Ngram> ngram(m, "Ngram");
  nb::class_<Task>(m, "Task")
      .def(nb::init<>())
      .def_rw("columns", &Task::columns)
      .def_rw("blank", &Task::blank)
      .def_rw("delimiter", &Task::delimiter)
      .def_rw("unit", &Task::unit)
      .def_rw("has_model", &Task::has_model)
      .def_rw("closed", &Task::closed)
      .def_rw("word_starts", &Task::word_starts)
      .def_rw("spelling", &Task::spelling)
      .def_rw("model_word", &Task::model_word)
      .def_rw("known", &Task::known)
      .def_rw("bonus", &Task::bonus)
      .def_rw("unigram", &Task::unigram)
      .def("set_lexicon", [](Task& task, const std::vector<std::string>& labels, const std::vector<std::string>& words) {
        task.lexicon = std::make_shared<const Lexicon>(labels, task.delimiter, words);
      })
      // Looks the words of the lexicon, or the labels, up in a model.
      .def("number_words", [](Task& task, const Ngram& model, const std::vector<std::string>& words) {
        task.model_word.clear();
        task.known.clear();
        task.unigram.clear();
        for (const std::string& word : words) {
          const uint32_t id = model.find(word);
          const bool known = id != kUnknownWord && word != "<unk>" && word != "<UNK>";
          task.model_word.push_back(known ? id : kUnknownWord);
          task.known.push_back(known);
          task.unigram.push_back(model.score(0, id).log10);
        }
      });

  ngram
      // Paths are bytes: not every name of a file is UTF-8.
      .def_static(
          "from_file",
          [](nb::bytes path, uint64_t source_size, uint64_t source_time) {
            return Ngram::from_file({path.c_str(), path.size()}, source_size, source_time);
          },
          "path"_a, "source_size"_a, "source_time"_a)
      .def(
          "save",
          [](const Ngram& model, nb::bytes path, uint64_t source_size, uint64_t source_time) {
            model.save({path.c_str(), path.size()}, source_size, source_time);
          },
          "path"_a, "source_size"_a, "source_time"_a)
      .def_prop_ro("order", &Ngram::order)
      .def_prop_ro("begin", &Ngram::begin)
      .def_prop_ro("states", &Ngram::states)
      .def("find", [](const Ngram& model, std::string_view word) -> int64_t {
        const uint32_t id = model.find(word);
        return id == kUnknownWord ? -1 : static_cast<int64_t>(id);
      })
      .def("words", [](const Ngram& model) {
        nb::list words;
        for (uint32_t id = 0; id < model.words(); ++id) {
          const std::string_view word = model.word(id);
          words.append(nb::steal<nb::object>(
              PyUnicode_DecodeUTF8(word.data(), static_cast<Py_ssize_t>(word.size()), "surrogateescape")));
        }
        return words;
      })
      .def("score", [](const Ngram& model, uint32_t state, int64_t word) {
        if (state >= model.states() || word >= static_cast<int64_t>(model.words()))
          throw std::out_of_range("no such state or word");
        const Scored scored = model.score(state, word < 0 ? kUnknownWord : static_cast<uint32_t>(word));
        return nb::make_tuple(scored.log10, scored.state);
      });

  nb::class_<ArpaReader>(m, "ArpaReader")
      .def(nb::init<>())
      .def("feed", [](ArpaReader& reader, nb::bytes piece) {
        const std::string_view view(piece.c_str(), piece.size());
        nb::gil_scoped_release release;
        reader.feed(view);
      })
      .def("finish", [](ArpaReader& reader) {
        nb::gil_scoped_release release;
        return Ngram::from_memory(reader.finish());
      });

  nb::class_<Decoder>(m, "Decoder")
      .def(nb::init<std::shared_ptr<Task>, nb::object>(), "task"_a, "language"_a.none())
      .def("set_options", &Decoder::set_options)
      .def("decode", &decode<float>)
      .def("decode", &decode<double>);

  nb::class_<Stream>(m, "Stream")
      .def(nb::init<Decoder&>(), nb::keep_alive<1, 2>())
      .def("push", &Stream::push<float>)
      .def("push", &Stream::push<double>)
      .def("best", &Stream::best)
      .def("memory", &Stream::memory);
}
