"""The parts of the decoder benchmark that could be wrong without anyone seeing it in the figures."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks.decode.decoders import Entry
from benchmarks.decode.inputs import DEFAULT_EMISSIONS, DEFAULT_MODEL, Sentences, load_sentences, read_words
from benchmarks.decode.reduce_inputs import probability, prune, read_arpa, write_arpa
from benchmarks.decode.report import lay_out
from benchmarks.decode.summary import ratios, summarise_group
from benchmarks.peers.original_python import prefix_beam_search


def best_by_enumeration(probs: np.ndarray, labels: str) -> str:
    """Add up every alignment; only for tiny cases."""
    masses: dict[str, float] = {}
    blank = len(labels)
    for path in itertools.product(range(blank + 1), repeat=len(probs)):
        text = "".join(labels[symbol] for symbol, _ in itertools.groupby(path) if symbol != blank)
        masses[text] = masses.get(text, 0.0) + float(np.prod(probs[np.arange(len(probs)), path]))
    return max(masses, key=lambda text: masses[text])


@pytest.mark.parametrize("seed", range(12))
def test_port_of_the_original_search_sums_all_alignments(seed: int) -> None:
    probs = np.random.default_rng(seed).dirichlet(np.full(4, 0.7), 6)
    assert prefix_beam_search(probs.tolist(), "ab ", 10_000, None) == best_by_enumeration(probs, "ab ")


def test_port_of_the_original_scores_each_word_once() -> None:
    # Two words, each heard as often "a" as "b": the scorer alone decides, at the space and at the end.
    sure = np.full((5, 4), 0.001)
    for frame, symbols in enumerate(((0, 1), (3,), (2,), (0, 1), (3,))):
        sure[frame, list(symbols)] = 1.0 / len(symbols)
    asked = []

    def scorer(text: str) -> float:
        asked.append(text)
        return {"a": 0.1, "b": 0.2, "b a": 0.9, "b b": 0.1}.get(text.strip(), 0.01)

    assert prefix_beam_search(sure.tolist(), "ab ", 50, scorer) == "b a"
    assert all(text for text in asked)


def sentences() -> Sentences:
    return Sentences([np.zeros((100, 3)), np.zeros((300, 3))], ["a b", "c d"])


def record(repeat: int, indices: list[int], cpu: list[int], texts: list[str]) -> dict:
    setup = {"alpha": 1.0, "beta": 0.0}
    key = {"decoder": "x", "setting": "none", "set": "easy", "beam": 16, "repeat": repeat}
    facts = {"package": "x", "version": "1", "load_seconds": 0.1, "loaded_bytes": 5}
    answer = {"cpu": cpu, "wall": cpu, "texts": texts, "failures": [], "peak_bytes": 10 + repeat}
    return {"key": {**key, "setup": setup, "sentences": indices}, "facts": facts, "answer": answer}


def test_summary_takes_the_median_of_each_sentence_and_all_frames() -> None:
    group = [
        record(0, [0, 1], [100_000, 900_000], ["a b", "c x"]),
        record(1, [0, 1], [300_000, 500_000], ["a b", "c x"]),
        record(2, [0, 1], [200_000, 700_000], ["a b", "c x"]),
    ]
    row = summarise_group(group, sentences())
    assert row["microseconds_per_frame"] == pytest.approx((200 + 700) / 400)
    assert row["lowest_microseconds_per_frame"] == pytest.approx((100 + 500) / 400)
    assert (row["wer"], row["frames"], row["sentences"], row["repeats"]) == (25.0, 400, 2, 3)
    assert row["peak_bytes"] == 12


def test_summary_of_a_subset_counts_its_frames_only() -> None:
    row = summarise_group([record(0, [0], [100_000], ["a x"])], sentences())
    assert (row["microseconds_per_frame"], row["wer"], row["frames"]) == (1.0, 50.0, 100)


def test_ratios_compare_like_with_like() -> None:
    def row(decoder: str, beam: int, time: float) -> dict:
        return {"setting": "none", "set": "easy", "beam": beam, "decoder": decoder, "microseconds_per_frame": time}

    rows = [row("deepspeech2", 16, 0.5), row("deepspeech2", 100, 2.0), row("peer", 16, 10.0), row("peer", 100, 100.0)]
    found = {(ratio["peer"], ratio["beam"]): ratio["times_faster"] for ratio in ratios(rows)}
    assert found == {("peer", 16): 20.0, ("peer", 100): 50.0}


def test_slow_decoders_say_on_how_many_sentences() -> None:
    entry = Entry("x", "y", "none", sentences=((500, 4),), repeats=((500, 1),))
    assert (entry.limit(500, 50), entry.limit(100, 50), entry.limit(500, 2)) == (4, 50, 2)
    assert (entry.repetitions(500, 3), entry.repetitions(100, 3)) == (1, 3)
    few, all_of_them = (
        summarise_group([record(0, indices, [1000] * len(indices), ["a b"] * len(indices))], sentences())
        for indices in ([0], [0, 1])
    )
    content = {
        "rows": [{**few, "decoder": "few"}, {**all_of_them, "decoder": "all"}],
        "inputs": {"frames": {"easy": 400}},
        "machine": {"processor": ["a processor"]},
        "not_run": {},
    }
    page = lay_out(content)
    assert "| few | 0.01 (0.00) [1] |" in page
    assert "| all | 0.005 (50.00) |" in page


def test_shipped_emissions_are_distributions_of_fifty_sentences() -> None:
    easy, hard = (load_sentences(DEFAULT_EMISSIONS, name) for name in ("easy", "hard"))
    assert easy.transcripts == hard.transcripts
    for data in (easy, hard):
        assert len(data.log_probs) == len(data.transcripts) == 50
        sums = np.exp(np.concatenate(data.log_probs).astype(np.float64)).sum(axis=1)
        np.testing.assert_allclose(sums, 1.0, atol=1e-5)


def test_pruning_keeps_the_words_and_still_sums_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = read_arpa(DEFAULT_MODEL)
    frequent = sorted(orders[0], key=lambda key: -orders[0][key][0])
    known = [word for (word,) in frequent if word not in ("<s>", "<unk>")]
    words = [*known[:60], "<unk>"]
    small = [{key: value for key, value in table.items() if all(w in (*words, "<s>") for w in key)} for table in orders]
    mass = sum(10 ** small[0][(word,)][0] for word in words)
    small[0] = {key: (score - np.log10(mass), weight) for key, (score, weight) in small[0].items()}
    monkeypatch.setattr("benchmarks.decode.reduce_inputs.KEEP", {2: 200, 3: 10})
    pruned = prune(small)
    assert set(pruned[0]) == set(small[0])
    assert len(pruned[2]) == 10
    assert all(key[:-1] in pruned[len(key) - 2] for table in pruned[1:] for key in table)
    for history in [("<s>",), *pruned[1]][:20]:
        total = sum(10 ** probability(pruned, (*history, word)) for word in words)
        assert total == pytest.approx(1.0, abs=1e-6), history
    write_arpa(pruned, tmp_path / "x.arpa.gz")
    again = read_arpa(tmp_path / "x.arpa.gz")
    assert [set(table) for table in again] == [set(table) for table in pruned]
    (tmp_path / "x.arpa").write_bytes(gzip.decompress((tmp_path / "x.arpa.gz").read_bytes()))
    assert set(read_words(tmp_path / "x.arpa")) == set(words) - {"<unk>", "</s>"}
