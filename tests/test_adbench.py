"""The parts of the ADBench comparison that can be wrong without anyone noticing."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def adbench():
    spec = importlib.util.spec_from_file_location("adbench", BENCHMARKS / "adbench.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def labels():
    return np.random.default_rng(0).permutation(np.repeat([0, 1], [900, 100]))


@pytest.fixture
def record(adbench):
    def make(name="a", seed=0, protocol="unsup", detector="KNN", **outcome):
        return adbench.Task(name, seed, protocol, detector)._asdict() | outcome

    return make


@pytest.fixture
def read(adbench):
    """Return what the given records are read back as."""
    return lambda *records: adbench.read_partial(map(json.dumps, records))


def test_unsupervised_split_is_stratified(adbench, labels):
    train, test = adbench.unsupervised(labels, 0)
    assert (len(train), len(test)) == (700, 300)
    assert (labels[train].sum(), labels[test].sum()) == (70, 30)
    assert sorted([*train, *test]) == list(range(1000))
    assert not np.array_equal(train, adbench.unsupervised(labels, 1)[0])


def test_one_class_trains_on_normal_rows_only(adbench, labels):
    train, test = adbench.one_class(labels, 0)
    assert len(train) == 450
    assert not labels[train].any()
    assert sorted([*train, *test]) == list(range(1000))


def test_subsample_keeps_the_share_of_outliers(adbench, labels):
    assert np.array_equal(adbench.subsample(labels, 0), np.arange(1000))
    many = np.tile(labels, 20)
    rows = adbench.subsample(many, 0)
    assert len(set(rows)) == 10_000
    assert many[rows].sum() == 1_000


def test_mvtec_sets_are_one_group(adbench, record, read):
    records = read(
        record("MVTec-AD_tile", auroc=0.5),
        record("MVTec-AD_tile", seed=1, auroc=0.7),
        record("MVTec-AD_wood", auroc=0.9),
        record("MVTec-AD_wood", seed=1, auroc=0.9),
        record("b", auroc=0.3),
        record("b", protocol="oneclass", auroc=0.8),
    )
    groups = adbench.by_group(records, "unsup", "auroc")["KNN"]
    assert groups == pytest.approx({"MVTec-AD": 0.75, "b": 0.3})


def test_a_failure_counts_as_chance(adbench, record, read):
    records = read(
        record("a", error="ValueError: no", outlier_share=0.1),
        record("b", auroc=0.9, ap=0.5),
    )
    groups = [adbench.by_group(records, "unsup", m)["KNN"] for m in ("auroc", "ap")]
    assert groups == [{"a": 0.5, "b": 0.9}, {"a": 0.1, "b": 0.5}]
    assert "PyOD KNN: ValueError: no (a)" in adbench.notes(records)[0]


def test_tied_detectors_share_the_mean_of_their_ranks(adbench):
    values = {
        "KNN": {"a": 0.9, "b": 0.1},
        "LOF": {"b": 0.5, "a": 0.8},
        "PCA": {"a": 0.8, "b": 0.7},
    }
    expected = {"KNN": (1 + 3) / 2, "LOF": (2.5 + 2) / 2, "PCA": (2.5 + 1) / 2}
    assert adbench.mean_ranks(values) == expected


def test_table_has_the_best_first_and_seconds_over_sets(adbench, record, read):
    def measures(auroc):
        return {"auroc": auroc, "ap": 0.5, "fit": 2.0, "score": 1.0}

    records = read(
        *(
            record(name, seed, detector=detector, **measures(auroc))
            for name in ("a", "b")
            for seed in (0, 1)
            for detector, auroc in (("KNN", 0.8), ("PCAEmbedder", 0.9))
        )
    )
    assert adbench.protocol_rows(records, "unsup") == [
        ["**PCAEmbedder**", "0.900", "0.500", "1.0", "4.00", "2.00"],
        ["PyOD KNN", "0.800", "0.500", "2.0", "4.00", "2.00"],
    ]


def test_a_killed_run_can_go_on(adbench, record, tmp_path):
    path = tmp_path / "partial.jsonl"
    first, second = json.dumps(record("a", auroc=1.0)), json.dumps(record("b"))
    path.write_text(f"{first}\n{second[:30]}")
    assert [t.set for t in adbench.open_partial(path, fresh=False, again=[])] == ["a"]
    adbench.add_line(path, second)
    known = adbench.open_partial(path, fresh=False, again=[])
    assert [task.set for task in known] == ["a", "b"]


def test_finished_fits_are_forgotten_on_request(adbench, record, tmp_path):
    path = tmp_path / "partial.jsonl"
    for detector in ("KNN", "LOF"):
        adbench.add_line(path, json.dumps(record(detector=detector)))
    known = adbench.open_partial(path, fresh=False, again=["LOF"])
    assert [task.detector for task in known] == ["KNN"]
    assert known == adbench.read_partial(path.read_text().splitlines())
    assert adbench.open_partial(path, fresh=True, again=[]) == {}
    assert path.read_text() == ""


def test_finished_fits_are_not_repeated_and_failed_ones_are(adbench, labels, tmp_path):
    X = np.random.default_rng(0).normal(size=(1000, 3)) + 9 * labels[:, None]
    np.savez(tmp_path / "a.npz", X=X, y=labels)
    wanted = adbench.tasks(adbench.shapes(tmp_path), ["PCAEmbedder"], [0])
    done, failed = sorted(wanted)
    known = {done: {"auroc": 0.0}, failed: {"error": "ValueError: no"}}
    partial = tmp_path / "partial.jsonl"
    records = adbench.collect(tmp_path, wanted, known, 1, partial)
    assert records[done] == {"auroc": 0.0}
    assert records[failed]["auroc"] > 0.99
    assert list(adbench.read_partial(partial.read_text().splitlines())) == [failed]


def test_an_error_of_a_detector_is_recorded(adbench, labels, tmp_path):
    np.savez(tmp_path / "a.npz", X=np.full((1000, 3), np.nan), y=labels)
    task = adbench.Task("a", 0, "unsup", "PCAEmbedder")
    outcome = adbench.run(tmp_path, task)
    assert outcome["error"].startswith("ValueError: ")
    assert outcome["outlier_share"] == pytest.approx(0.1)


def test_scores_that_are_not_finite_are_counted(adbench):
    scores = np.array([np.nan, 1.0, np.inf, 2.0])
    detector = SimpleNamespace(outlierness=lambda model, X: scores)
    model = SimpleNamespace(fit=lambda X: None)
    outcome = adbench.measured(detector, model, None, None, np.array([0, 0, 1, 1]))
    assert (outcome["auroc"], outcome["not_finite"]) == (1.0, 2)


def test_a_set_s_result_is_the_mean_over_seeds(adbench, record, read):
    records = read(
        record("a", auroc=0.5, ap=0.2),
        record("a", seed=1, auroc=0.6, ap=0.4),
        record("b", error="ValueError: no", outlier_share=0.1),
    )
    means = {"a": [0.55, 0.3], "b": [0.5, 0.1]}
    assert adbench.values(records) == {"unsup": {"KNN": means}}
