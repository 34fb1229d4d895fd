"""The parts of the comparison of approximate searches that can be wrong unnoticed."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def bench():
    path = BENCHMARKS / "approximate_search.py"
    spec = importlib.util.spec_from_file_location("approximate_search", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(bench):
    rows = bench.clustered(1_050, 4)
    return bench.Data.of("clustered", rows[:1_000], rows[1_000:], 8)


@pytest.fixture
def truth(data):
    gaps = data.queries[:, None].astype(np.float64) - data.base
    return np.argsort(np.linalg.norm(gaps, axis=2), axis=1)[:, :10]


@pytest.fixture
def record():
    """Two rounds of 100 queries: ours, a fast and a slow peer, and one too coarse."""
    entry = {"setting": {"efSearch": 16}, "recall": 0.93, "seconds": 1.0}
    seconds = {"float32": [1.0, 2.0], "certified": [2.0, 4.0]}
    seconds |= {"faiss HNSW": [3.0, 2.0], "hnswlib": [9.0, 9.0]}
    ours = {"spec": "flat", "fit": 4.0, "build": 2.0, "recall_float32": 0.96}
    chosen = {"faiss HNSW": entry, "hnswlib": entry}
    target = {"ours": ours, "chosen": chosen, "seconds": seconds}
    return {
        "title": "rows",
        "threads": 1,
        "n_queries": 100,
        "builds": {"faiss HNSW": 8.0, "hnswlib": 1.0, "faiss IVF": 1.0},
        "targets": {"0.9": target},
    }


def test_clusters_are_the_same_every_time_and_queries_are_among_them(bench):
    rows = bench.clustered(20_000, 8)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, bench.clustered(20_000, 8))
    base, queries = rows[:19_000], rows[19_000:]
    gaps = base.mean(axis=0) - queries.mean(axis=0)
    assert np.abs(gaps).max() < 0.2
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_truth_is_that_of_float64(bench, data, truth):
    measured = bench.distances(data.base, data.queries, truth)
    np.testing.assert_allclose(data.limits, measured[:, -1], rtol=1e-12)
    assert bench.recall(data, truth) == 1.0


def test_missing_repeated_and_farther_rows_are_not_found(bench, data, truth):
    positions = truth.copy()
    positions[:, 0] = -1
    positions[:, 1] = positions[:, 2]
    assert bench.recall(data, positions) == pytest.approx(0.8)
    assert bench.recall(data, np.tile(truth[:, -1:], 10)) == pytest.approx(0.1)
    assert bench.recall(data, (truth + 500)[:25] % 1_000) < 0.2


def test_an_equally_near_row_counts_as_found(bench, truth, data):
    twice = np.concatenate([data.base, data.base])
    doubled = bench.Data.of("twice", twice, data.queries, 8)
    other = np.sort(np.concatenate([truth[:, :5], truth[:, :5] + 1_000], axis=1))
    assert bench.recall(doubled, other) == 1.0


def test_the_fastest_setting_that_reaches_the_target_is_taken(bench):
    swept = [
        {"setting": {"ef": ef}, "recall": recall, "seconds": seconds}
        for ef, recall, seconds in [(8, 0.8, 1), (16, 0.93, 3), (24, 0.97, 2)]
    ]
    assert bench.fastest(swept, 0.9)["setting"] == {"ef": 24}
    assert bench.fastest(swept, 0.98) is None


def test_a_ladder_ends_at_the_highest_target(bench, data, truth):
    def search(queries, share):
        positions = truth[: len(queries)].copy()
        positions[:, round(10 * share) :] = -1
        return positions

    shares = [0.5, 0.9, 1.0, 1.0]
    peer = bench.Peer(None, [[{"share": share} for share in shares]] * 2)
    reached = [entry["recall"] for entry in bench.sweep(peer, search, data)]
    assert reached == pytest.approx([0.5, 0.9, 1.0] * 2)


@pytest.mark.parametrize("name", ["faiss HNSW", "faiss IVF", "scikit-learn"])
def test_a_peer_finds_what_it_should_at_its_most_thorough(bench, data, name):
    peer = bench.PEERS[name]
    search, seconds = bench.build(peer, data, 1)
    assert seconds > 0
    assert bench.recall(data, search(data.queries, **peer.ladders[-1][-1])) > 0.99


def test_ratios_are_over_the_fastest_peer_round_by_round(bench, record):
    row = dict(zip(bench.OUR_HEADER, bench.ours_row("0.9", record), strict=True))
    assert row["fastest peer"] == "faiss HNSW"
    assert (row["float32 ratio"], row["certified ratio"]) == ("2.00", "1.00")
    assert row["float32 (queries/s)"] == f"{100 / 1.5:,.0f}"
    assert (row["HNSW's build / fit"], row["HNSW's build / build"]) == ("2.0", "4.0")
    assert bench.peer_row("hnswlib", record)[2:] == ["11", "efSearch 16: 0.930"]
    assert bench.peer_row("faiss IVF", record)[2:] == ["", "not reached"]


def test_static_searches_are_compared_with_the_peer_that_takes_no_changes(
    bench, record
):
    target = record["targets"]["0.9"]
    target["static"] = {"spec": "SymphonyQG32,ef=9", "fit": 30.0, "recall": 0.93}
    target["seconds"] |= {"static": [0.5, 1.0], "rabitqlib": [0.4, 1.2]}
    record["builds"]["rabitqlib"] = 20.0
    # It is no peer of an index that follows changes.
    assert bench.best_peer(target["seconds"]) == "faiss HNSW"
    row = dict(zip(bench.STATIC_HEADER, bench.static_row("0.9", record), strict=True))
    assert (row["over static=False"], row["over rabitqlib"]) == ("2.00", "1.00")
    assert row["queries/s"] == f"{100 / 0.75:,.0f}"
    assert "SymphonyQG32,ef=9" in bench.set_tables(record)
    row = bench.families_row("0.9", record)
    row = dict(zip(bench.FAMILIES_HEADER, row, strict=True))
    assert row["HNSW over lists"] == f"{(1 / 3 + 1) / 2:.2f}"
    assert row["SymphonyQG over lists"] == f"{(2.5 + 2 / 1.2) / 2:.2f}"


def test_finished_sets_are_not_measured_again(
    bench, record, tmp_path, monkeypatch, capsys
):
    options = SimpleNamespace(
        sets=["mnist"], resume=tmp_path / "finished.json", quick=True, threads=1
    )
    options.rounds, options.write = 3, False
    options.families = False
    options.peers, options.targets = list(bench.PEERS), list(bench.TARGETS)
    bench.keep_finished(options.resume, {bench.set_key("mnist", options): record})
    assert json.loads(options.resume.read_text())
    monkeypatch.setattr(bench, "SETS", {})
    bench.compare(options)
    assert bench.set_tables(record) in capsys.readouterr().out
    options.threads = 2
    with pytest.raises(KeyError):
        bench.compare(options)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_whole_comparison_runs(bench, monkeypatch, capsys):
    for library in ("hnswlib", "pynndescent", "rabitqlib", "usearch"):
        pytest.importorskip(library)
    command = ["", "--quick", "--rounds", "1", "--threads", "1", "--sets"]
    monkeypatch.setattr(sys, "argv", [*command, "clustered-200k"])
    bench.main()
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.PEERS)


def test_the_guide_shows_the_results_that_are_kept(bench):
    """Nobody edits the table by hand."""
    results = BENCHMARKS / "results" / "approximate_search.json"
    sets = json.loads(results.read_text(encoding="utf-8"))["sets"]
    assert bench.GENERATED.read_text(encoding="utf-8") == bench.guide_table(sets)
