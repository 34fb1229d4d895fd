"""The parts of the detector's benchmarks that can be wrong without anyone noticing."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from latentsk import LatentOutlierDetector

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def load():
    """Return a benchmark by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module


def tables():
    """Return tables that every choice of the detector matters to, for one of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 5)) @ rng.normal(size=(5, 5))
    X[:, 3] = rng.random(700) < 0.2  # two values
    X[:150, 0] += 5.0  # outliers
    X[100:120, 1] = -999.0  # a code
    grid = np.arange(200.0)[:, None]
    few_rows = rng.normal(size=(40, 25))
    heavy_tails = rng.standard_t(2, size=(60, 12))
    return [X, grid, few_rows, heavy_tails]


def all_scores(variants, changes, parameters):
    with variants.changed(changes):
        return [
            LatentOutlierDetector(assume_clean=clean, random_state=0, **parameters)
            .fit(X)
            .score_samples(X)
            for X in tables()
            for clean in (False, True)
        ]


def test_every_variant_changes_the_scores(load):
    """A replacement that the package no longer reads would change nothing."""
    variants = load("adbench_variants")
    plain = all_scores(variants, [], {})
    same = [
        name
        for name, fit in variants.FITS.items()
        if all(map(np.array_equal, all_scores(variants, *fit), plain))
    ]
    assert same == ["as it is"]


def test_variants_are_undone(load):
    variants = load("adbench_variants")
    changes, _ = variants.FITS["sample of 128 rows"]
    [(module, name, _)] = changes
    before = getattr(module, name)
    with variants.changed(changes):
        assert getattr(module, name) == 128
    assert getattr(module, name) == before != 128


def test_flagged_shares_are_judged_by_the_aims(load):
    benchmark = load("flagged_share")
    found = {
        benchmark.Case("LatentOutlierDetector()", 500, "normal", 1): 0.031,
        benchmark.Case("LatentOutlierDetector()", 500, "normal", 2): 0.002,
        benchmark.Case("LatentOutlierDetector()", 500, "uniform", 2): 0.0,
        benchmark.Case("IsolationForest()", 2_000, "normal", 1): 0.2,
    }
    text = benchmark.verdict(found)
    assert "3.10 % (LatentOutlierDetector(), 500 x 1, normal)" in text
    assert "0.20 % (LatentOutlierDetector(), 500 x 2, normal)" in text
    assert text.endswith("Outside of the aims: 2 of 3.")


def test_flagged_share_counts_outliers(load, monkeypatch):
    benchmark = load("flagged_share")

    class Sign:
        def fit(self, X):
            return self

        def predict(self, X):
            return np.where(X[:, 0] < 0.25, -1, 1)

    monkeypatch.setitem(benchmark.DETECTORS, "Sign", lambda seed: Sign())
    case = benchmark.Case("Sign", 10, "uniform", 1)
    assert benchmark.flagged(case, 0) == pytest.approx(0.25, abs=0.05)
    # The mean of the draws, and not one of them.
    shares = benchmark.shares([case], 2, 1)[case]
    assert shares == np.mean([benchmark.flagged(case, seed) for seed in (0, 1)])


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (np.zeros((3, 2)), True),
        (np.full((3, 2), np.nan), False),
        (np.array([["a"], ["b"]]), False),
        (np.array([["a", 1]], dtype=object), False),
    ],
)
def test_small_tables_are_numbers(load, tmp_path, train, expected):
    path = tmp_path / "a.npz"
    np.savez(path, train=train, test=np.zeros((2, 2)), test_labels=[0, 1])
    assert load("oddbench").usable(path) is expected


def test_small_tables_are_standardized_by_at_most_2000_rows(load, tmp_path):
    path = tmp_path / "a.npz"
    rows = np.random.default_rng(0).normal(5, 3, size=(2_500, 2))
    labels = np.repeat([1, 0], [10, 2_490])
    np.savez(path, train=rows, train_labels=labels, test=rows[:9], test_labels=[1] * 9)
    train, test, y = load("oddbench").prepared(path, 0)
    assert train.shape == (2_000, 2)
    assert np.allclose([train.mean(axis=0), train.std(axis=0)], [[0, 0], [1, 1]])
    assert test.std() == pytest.approx(rows[:9].std() / 3, rel=0.1)
    assert y.tolist() == [1] * 9


def test_costs_of_other_groups_are_kept(load, monkeypatch, tmp_path):
    benchmark = load("detector_cost")
    groups = {"wide": {"table": "old", "measured": {}}}
    (tmp_path / "detector_cost.json").write_text(json.dumps({"groups": groups}))
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    assert benchmark.kept(True) == groups
    assert benchmark.kept(False) == {}


def test_alerts_and_days_of_drift_are_counted(load, monkeypatch):
    benchmark = load("drift")
    monkeypatch.setattr(benchmark, "DAY", 4)
    detector = LatentOutlierDetector()
    detector.offset_ = -1.0
    scores = np.array([-2.0, 0.0, -1.0, 3.0, -2.0, -3.0, -1.5, 0.0])
    assert benchmark.alerts_of(detector, scores).tolist() == [1, 3]
    # Of 200 asked for: 5 % too many, then 15 %; single days off by up to 25 %.
    found = [{"alerts, 20,000": [200, 220]}, {"alerts, 20,000": [210, 250]}]
    line = benchmark.held(found).splitlines()[-1]
    assert line == "| 20,000 | 220 | 15.0 % | 50.0 % | 75.0 % |"
    monkeypatch.setattr(benchmark, "SIZES", (4,))
    monkeypatch.setattr(benchmark, "DRIFTS", (0.5,))
    found = [{"p, 4, 0": [0.03, 0.5], "p, 4, 0.5": [0.0005]}]
    lines = benchmark.called(found).splitlines()[2:]
    assert lines == [
        "| 4 | none | 2 | 50.0 % | 0.0 % | 0.0 % |",
        "| 4 | 50 % | 1 | 100.0 % | 100.0 % | 100.0 % |",
    ]


def test_faults_of_sensors_are_planted_and_counted(load, monkeypatch):
    benchmark = load("sensor_faults")
    case = benchmark.planted("linear", 0)
    is_faulty = case.sensor >= 0
    assert set(case.kind[is_faulty]) == set(range(6))
    # The only cells that differ from the same plant without faults are of the sensor.
    draw, rng = benchmark.PLANTS["linear"](0), np.random.default_rng([0, 1])
    plain = [draw(rng, benchmark.N_STEPS) for _ in range(3)][2]
    steps, sensors = np.nonzero(case.faulty != plain)
    np.testing.assert_array_equal(sensors, case.sensor[steps])
    assert set(steps) <= set(np.flatnonzero(is_faulty))
    stuck = case.kind == benchmark.KINDS.index("stuck")
    begins = np.flatnonzero(np.diff(stuck.astype(int), prepend=0) == 1)
    first = case.faulty[begins[0] : begins[0] + benchmark.FAULT, case.sensor[begins[0]]]
    assert np.ptp(first) == 0.0

    sensor = np.array([-1, -1, 3, 3, -1, -1, 5])
    kind = np.where(sensor == 5, 0, np.where(sensor == 3, 1, -1))
    small = case._replace(sensor=sensor, kind=kind)
    found, of_kind, is_normal = benchmark.of_windows(small, 4)
    assert found.tolist() == [3, 3, 3, 5]  # half of it, or a spike
    assert of_kind.tolist()[:2] == [1, 1]
    assert not is_normal.any()

    scores = np.array([0.0, -3.0, -3.0, 0.0, 0.0, 0.0, 0.0])
    area, faults, at_fault, others = benchmark.of_steps(scores, sensor, -1.0)
    assert (faults, at_fault, others) == (1 / 2, 1 / 3, 1 / 4)
    # Of 3 x 4 pairs, a tie counts half: one step at fault wins 3.5, two win 1.5.
    assert area == pytest.approx(6.5 / 12)


def test_windows_of_a_benchmark_overlap_as_they_say(load):
    benchmark = load("overlapping_windows")
    steps = {"one step": 1, "an eighth": 3, "a quarter": 6, "half": 12, "a length": 24}
    assert benchmark.steps_of(24) == steps
    found = {"linear": [{f"{s}, {w}": [0.5] for s in (1, 6, 24, 48)
             for w in ("drift", "p", "least", "fdr")}]}  # fmt: skip
    line = benchmark.calibrated(found).splitlines()[2]
    assert line == "| linear | 1 | 50.0 % | 50.0 % | 0.5 times | 50.0 % |"
