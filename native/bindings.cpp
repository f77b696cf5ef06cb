// The Python face of the core: deepspeech2.ctc._core. Everything a person calls is in the Python modules beside it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/unordered_map.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>

#include "arpa.h"
#include "batch.h"
#include "decoder.h"

using namespace nanobind::literals;

namespace ctc {
namespace {

nb::tuple answer(const Outcome& outcome) {
  const Fault& fault = outcome.fault;
  const Tally& tally = outcome.tally;
  nb::list hypotheses;
  for (const Result& r : outcome.results)
    hypotheses.append(nb::make_tuple(r.text, r.acoustic, r.language,
                                     nb::bytes(r.labels.data(), r.labels.size() * sizeof(LabelTime))));
  return nb::make_tuple(static_cast<int>(fault.kind), fault.row, hypotheses,
                        nb::make_tuple(tally.frames, tally.candidates, tally.merges, tally.created, tally.lookups));
}

template <typename Number>
using Matrix = nb::ndarray<const Number, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Rows rows_of(const Matrix<float>& matrix) { return {matrix.data(), nullptr, matrix.shape(0), matrix.shape(1)}; }
Rows rows_of(const Matrix<double>& matrix) { return {nullptr, matrix.data(), matrix.shape(0), matrix.shape(1)}; }

template <typename Number>
nb::tuple decode(Decoder& decoder, Matrix<Number> matrix) {
  Outcome out;
  const Rows rows = rows_of(matrix);
  {
    auto weights = decoder.weights();
    nb::gil_scoped_release release;
    out = decode_rows(decoder, weights, rows);
  }
  return answer(out);
}

// `matrices` keeps the numbers alive.
nb::list decode_batch(Decoder& decoder, nb::list matrices, size_t threads) {
  std::vector<Rows> utterances;
  for (nb::handle item : matrices) {
    Matrix<float> singles;
    if (nb::try_cast(item, singles, false))
      utterances.push_back(rows_of(singles));
    else
      utterances.push_back(rows_of(nb::cast<Matrix<double>>(item, false)));
  }
  Batch batch(decoder, std::move(utterances));
  {
    nb::gil_scoped_release release;
    batch.run(threads);
  }
  nb::list answers;
  for (const Outcome& outcome : batch.outcomes()) answers.append(answer(outcome));
  return answers;
}

class Stream {
 public:
  explicit Stream(Decoder& decoder) {
    auto weights = decoder.weights();
    search_ = decoder.take();
    search_->restart(weights->options, weights);
  }
  template <typename Number>
  nb::tuple push(Matrix<Number> rows) {
    Fault fault;
    {
      nb::gil_scoped_release release;
      std::lock_guard<std::mutex> lock(mutex_);
      // After a fault the search cannot go on; it keeps to the same answer. A row that is no distribution is found
      // before the first step, and changes nothing.
      fault = fault_;
      if (fault.kind == RowFault::none) fault = check(*search_, rows.data(), rows.shape(0), rows.shape(1));
      if (fault.kind == RowFault::none) fault = fault_ = run(*search_, rows.data(), rows.shape(0), rows.shape(1));
    }
    return nb::make_tuple(static_cast<int>(fault.kind), fault.row);
  }
  nb::tuple best() {
    Outcome out;
    {
      nb::gil_scoped_release release;
      std::lock_guard<std::mutex> lock(mutex_);
      if (fault_.kind == RowFault::none) out.results = search_->peek(&out.tally);
    }
    return answer(out);
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
      .def_rw("pauses", &Task::pauses)
      .def_rw("word_starts", &Task::word_starts)
      .def_rw("silent", &Task::silent)
      .def_rw("spelling", &Task::spelling)
      .def_rw("model_word", &Task::model_word)
      .def_rw("known", &Task::known)
      .def_rw("bonus", &Task::bonus)
      .def_rw("unigram", &Task::unigram)
      .def("set_lexicon", [](Task& task, const std::vector<std::string>& labels, const std::vector<std::string>& words) {
        task.lexicon = std::make_shared<const Lexicon>(labels, task.delimiter, words);
      })
      // Looks the words of the lexicon, or the labels, up in a model.
      .def("number_words", [](Task& task, std::shared_ptr<const Ngram> shared, const std::vector<std::string>& words) {
        const Ngram& model = *shared;
        task.model = std::move(shared);
        task.largest_log10 = static_cast<double>(model.largest());
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
      // Of a word behind a state, for look-ahead: its log10 if an n-gram lists it, -inf otherwise, and all backoffs.
      .def("listed", [](const Ngram& model, uint32_t state, int64_t word) {
        if (state >= model.states() || word >= static_cast<int64_t>(model.words()))
          throw std::out_of_range("no such state or word");
        float best = -std::numeric_limits<float>::infinity(), backoff = 0.0f;
        for (; state; state = model.suffix(state)) {
          const NgramEntry* entry = word < 0 ? nullptr : model.entry(state, static_cast<uint32_t>(word));
          if (entry) best = std::max(best, backoff + entry->log10);
          backoff += model.backoff(state);
        }
        return nb::make_tuple(best, backoff);
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
      .def("memory", &Decoder::memory)
      .def("with_bonus", &Decoder::with_bonus)
      .def("decode", &decode<float>)
      .def("decode", &decode<double>)
      .def("decode_batch", &decode_batch, "matrices"_a, "threads"_a);

  nb::class_<Stream>(m, "Stream")
      .def(nb::init<Decoder&>(), nb::keep_alive<1, 2>())
      .def("push", &Stream::push<float>)
      .def("push", &Stream::push<double>)
      .def("best", &Stream::best)
      .def("memory", &Stream::memory);
}
