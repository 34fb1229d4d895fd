"""Faults planted in series of sensors: which are found, and which sensor is named.

    python benchmarks/sensor_faults.py [--seeds N] [--jobs N] [--write]

Two plants of eight sensors. In the linear one, two slow signals and the cycle of a day
reach every sensor, with noise of its own. In the other, a machine changes between three
loads, which sensors follow at once, late, saturated or by louder noise. Six kinds of
faults are planted in one sensor at a time, for 24 steps. LatentOutlierDetector is
fitted to windows of normal steps, and judges every window of the others.

A window is faulty if half of it is, or if it holds the spike. Its sensor is named if
what its lags contribute sums up to most.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from _harness import publish, table, threads
from joblib import Parallel, delayed
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from latentsk import LatentOutlierDetector, SlidingWindows

N_STEPS, N_SENSORS, DAY = 4_000, 8, 96
KINDS = ("spike", "shift", "drift", "stuck", "noise", "decoupled")
FAULT, PAUSE = 24, 40
AGGREGATES = ("mean", "min", "max")
# Every third faulty window is explained, to save time.
EXPLAINED = 3


# Plants

# Draws a series of so many steps.
Plant = Callable[[np.random.Generator, int], np.ndarray]


def autoregressive(
    rng: np.random.Generator, n_steps: int, n_columns: int, factor: float
) -> np.ndarray:
    """Return series of unit variance, each step `factor` of the last and noise."""
    noise = rng.normal(size=(n_steps + 500, n_columns)) * np.sqrt(1 - factor**2)
    return lfilter([1.0], [1.0, -factor], noise, axis=0)[500:]


def linear_plant(seed: int) -> Plant:
    """Return what draws series of a plant whose sensors share two slow signals."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(2, N_SENSORS))
    loadings /= np.linalg.norm(loadings, axis=0)
    amplitudes, phases = rng.uniform([[0.3], [0.0]], [[1.5], [0.25]], (2, N_SENSORS))
    noises = rng.uniform(0.2, 0.5, N_SENSORS)
    scales, levels = rng.lognormal(0, 2, N_SENSORS), rng.normal(0, 50, N_SENSORS)

    def series(rng: np.random.Generator, n_steps: int) -> np.ndarray:
        time = np.arange(n_steps)[:, None] / DAY
        found = amplitudes * np.sin(2 * np.pi * (time + phases))
        found += autoregressive(rng, n_steps, 2, 0.95) @ loadings
        found += noises * autoregressive(rng, n_steps, N_SENSORS, 0.5)
        return levels + scales * found

    return series


def machine(seed: int) -> Plant:
    """Return what draws series of a machine with three loads."""
    own = np.random.default_rng(seed)
    late, noises = own.uniform(0.7, 0.95, 2), own.uniform(0.03, 0.08, N_SENSORS)
    weight = own.uniform(0.3, 0.7)

    def series(rng: np.random.Generator, n_steps: int) -> np.ndarray:
        dwell = rng.integers(20, 90, n_steps // 20)
        load = np.repeat(rng.choice([0.2, 0.6, 1.0], len(dwell)), dwell)[:n_steps]
        load = lfilter([0.5], [1.0, -0.5], load)
        load *= 1 + 0.05 * autoregressive(rng, n_steps, 1, 0.9)[:, 0]
        outside = 0.4 * np.sin(2 * np.pi * np.arange(n_steps) / DAY)
        outside += 0.1 * autoregressive(rng, n_steps, 1, 0.98)[:, 0]
        power = load**1.5
        heat = lfilter([1 - late[0]], [1.0, -late[0]], power)
        bearing = lfilter([1 - late[1]], [1.0, -late[1]], heat + weight * outside)
        valve = 1 + 0.1 * autoregressive(rng, n_steps, 1, 0.95)[:, 0]
        shaking = 0.2 * load * rng.normal(size=n_steps)
        columns = [power, heat, bearing, np.tanh(2 * load), load * valve, outside]
        found = np.column_stack([*columns, shaking, heat - weight * outside])
        return found + noises * autoregressive(rng, n_steps, N_SENSORS, 0.3)

    return series


PLANTS = {"linear": linear_plant, "machine": machine}


class Case(NamedTuple):
    """Normal steps to fit to, and others with faults.

    Attributes
    ----------
    normal, unseen : ndarray of shape (n_steps, n_sensors)
        Steps without faults.
    faulty : ndarray of shape (n_steps, n_sensors)
    sensor, kind : ndarray of shape (n_steps,), dtype int
        Which sensor is at fault in each step, and how; -1 where there is none.
    """

    normal: np.ndarray
    unseen: np.ndarray
    faulty: np.ndarray
    sensor: np.ndarray
    kind: np.ndarray


def planted(plant: str, seed: int) -> Case:
    """Return series of a plant, faults of all kinds in turn in one of them."""
    draw, rng = PLANTS[plant](seed), np.random.default_rng([seed, 1])
    normal, unseen, faulty, other = (draw(rng, N_STEPS) for _ in range(4))
    sensor, kind = np.full(N_STEPS, -1), np.full(N_STEPS, -1)
    for number, start in enumerate(range(PAUSE, N_STEPS - FAULT, FAULT + PAUSE)):
        j, k = int(rng.integers(N_SENSORS)), number % len(KINDS)
        steps = slice(start, start + FAULT)
        if KINDS[k] == "spike":
            steps = slice(start + FAULT // 2, start + FAULT // 2 + 1)
        faulty[steps, j] = broken(KINDS[k], faulty[steps, j], other[:, j], rng)
        sensor[steps], kind[steps] = j, k
    return Case(normal, unseen, faulty, sensor, kind)


def broken(
    kind: str, values: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return what a sensor at fault measures instead of some values."""
    deviation, sign = other.std(), rng.choice([-1.0, 1.0])
    if kind == "spike":
        return values + sign * 4 * deviation
    if kind == "shift":
        return values + sign * 2 * deviation
    if kind == "drift":
        return values + sign * np.linspace(0, 3 * deviation, len(values))
    if kind == "stuck":
        return np.full(len(values), values[0])
    if kind == "noise":
        return values + deviation * rng.normal(size=len(values))
    # Its own values of another time: normal ones, unrelated to the other sensors.
    start = rng.integers(len(other) - len(values))
    return other[start : start + len(values)]


def of_windows(case: Case, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sensor and kind of faulty windows, else -1, and which are normal."""
    sensors = sliding_window_view(case.sensor, length)
    sensor, n_faulty = sensors.max(axis=1), (sensors >= 0).sum(axis=1)
    kind = sliding_window_view(case.kind, length).max(axis=1)
    least = np.where(kind == KINDS.index("spike"), 1, min(length // 2, FAULT))
    is_faulty = (n_faulty >= least) & (n_faulty > 0)
    both = np.where(is_faulty, [sensor, kind], -1)
    return both[0], both[1], n_faulty == 0


# Contenders


class Setting(NamedTuple):
    """How windows are cut, and what judges them."""

    name: str
    length: int = 24
    step: int | None = None
    method: str = "auto"
    assume_clean: bool = False
    is_level_removed: bool = False

    def cut(self, series: np.ndarray, step: int | None) -> np.ndarray:
        """Return the windows of a series."""
        windows = SlidingWindows(self.length, step=step).fit_transform(series)
        if not self.is_level_removed:
            return windows
        by_sensor = windows.reshape(len(windows), N_SENSORS, self.length)
        centred = by_sensor - by_sensor.mean(axis=2, keepdims=True)
        return centred.reshape(windows.shape)


SETTINGS = [
    Setting("default"),
    Setting("fitted to every window", step=1),
    Setting("fitted to windows without overlap", step=24),
    Setting("assume_clean=True", assume_clean=True),
    Setting("method='distance'", method="distance"),
    Setting("method='neighbors'", method="neighbors"),
    Setting("12 steps", length=12),
    Setting("48 steps", length=48),
    Setting("levels removed", is_level_removed=True),
]
Z_SCORES = "squares of z-scores"


def judged(plant: str, seed: int, setting: Setting) -> dict[str, Any]:
    """Return what one detector finds."""
    case = planted(plant, seed)
    sensor, kind, is_normal = of_windows(case, setting.length)
    with threads(1):
        detector = LatentOutlierDetector(
            method=setting.method, assume_clean=setting.assume_clean, random_state=seed
        ).fit(setting.cut(case.normal, setting.step))
        windows = setting.cut(case.faulty, 1)
        scores = detector.score_samples(windows)
        unseen = detector.predict(setting.cut(case.unseen, setting.length))
        chosen = np.flatnonzero(sensor >= 0)[::EXPLAINED]
        reasons = detector.explain(windows[chosen], n_nearest=0)
    named = SlidingWindows(setting.length).fit(case.normal).sum_by_sensor(reasons)
    is_right = named.to_numpy().argmin(axis=1) == sensor[chosen]
    found = {
        "auroc": auroc(scores, sensor >= 0, is_normal),
        "false": np.mean(unseen == -1),
        "right": is_right,
        "flagged": scores[chosen] < detector.offset_,
        "kind": kind[chosen],
    }
    cutter = SlidingWindows(setting.length, step=1).fit(case.faulty)
    for how in AGGREGATES:
        steps = cutter.to_steps(scores, case.faulty, aggregate=how)
        found[how] = of_steps(steps, case.sensor, detector.offset_)
    return found


def of_steps(scores: np.ndarray, sensor: np.ndarray, offset: float) -> list[float]:
    """Return AUROC, share of faults found, of steps at fault and of others flagged."""
    is_faulty, is_flagged = sensor >= 0, scores < offset
    begins = np.flatnonzero(np.diff(is_faulty.astype(int), prepend=0) == 1)
    faults = np.searchsorted(begins, np.flatnonzero(is_faulty), side="right") - 1
    found = np.unique(faults[is_flagged[is_faulty]])
    return [
        auroc(scores, is_faulty, ~is_faulty),
        len(found) / len(begins),
        float(is_flagged[is_faulty].mean()),
        float(is_flagged[~is_faulty].mean()),
    ]


def by_z_scores(plant: str, seed: int, length: int = 24) -> dict[str, Any]:
    """Return what sums of squared z-scores over each sensor of a window find."""
    case = planted(plant, seed)
    sensor, kind, is_normal = of_windows(case, length)
    squares = ((case.faulty - case.normal.mean(axis=0)) / case.normal.std(axis=0)) ** 2
    sums = sliding_window_view(squares, length, axis=0).sum(axis=2)
    chosen = np.flatnonzero(sensor >= 0)[::EXPLAINED]
    return {
        "auroc": auroc(-sums.sum(axis=1), sensor >= 0, is_normal),
        "right": sums[chosen].argmax(axis=1) == sensor[chosen],
        "kind": kind[chosen],
    }


def auroc(scores: np.ndarray, is_faulty: np.ndarray, is_normal: np.ndarray) -> float:
    known = (is_faulty | is_normal) & np.isfinite(scores)
    return float(roc_auc_score(is_faulty[known], -scores[known]))


# Tables


def percent(values: Any) -> str:
    return f"{100 * float(np.mean(values)):.0f} %" if len(values) else ""


def together(found: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.concatenate([one[name] for one in found])


def summary(results: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return a line for each plant and setting."""
    body = []
    for (plant, name), found in results.items():
        right = together(found, "right")
        line = [plant, name, f"{np.mean([one['auroc'] for one in found]):.3f}"]
        if "flagged" not in found[0]:
            body.append([*line, "", "", percent(right), ""])
            continue
        flagged = together(found, "flagged")
        false = 100 * np.mean([one["false"] for one in found])
        line += [f"{false:.1f} %", percent(flagged)]
        body.append([*line, percent(right), percent(right[flagged])])
    header = ["plant", "windows and detector", "AUROC", "false alarms", "found"]
    return table([*header, "right sensor", "of those found"], body)


def by_kind(results: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return the right sensor by kind of fault, of all windows and of flagged ones."""
    body = []
    for (plant, name), found in results.items():
        if name not in (SETTINGS[0].name, "method='distance'"):
            continue
        kind, right = together(found, "kind"), together(found, "right")
        flagged = together(found, "flagged")
        for what, chosen in (("all", kind >= 0), ("found", flagged)):
            shares = [percent(right[chosen & (kind == k)]) for k in range(len(KINDS))]
            body.append([plant, name, what, *shares])
    return table(["plant", "windows and detector", "windows", *KINDS], body)


def by_steps(results: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """Return how well steps at fault are told by the scores of their windows."""
    body = []
    for (plant, name), found in results.items():
        for how in AGGREGATES if name == SETTINGS[0].name else ():
            area, *shares = np.mean([one[how] for one in found], axis=0)
            shown = [f"{100 * share:.0f} %" for share in shares]
            body.append([plant, how, f"{area:.3f}", *shown])
    header = ["plant", "aggregate", "AUROC of steps", "faults found"]
    return table([*header, "steps at fault flagged", "other steps flagged"], body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    seeds, results = range(options.seeds), {}
    for plant in PLANTS:
        results[plant, Z_SCORES] = [by_z_scores(plant, seed) for seed in seeds]
        for setting in SETTINGS:
            tasks = (delayed(judged)(plant, seed, setting) for seed in seeds)
            results[plant, setting.name] = Parallel(n_jobs=options.jobs)(tasks)
    tables = [summary(results), by_kind(results), by_steps(results)]
    printed = "\n\n".join([f"Seeds: {options.seeds}", *tables])
    right = {
        f"{plant}, {name}": [float(np.mean(one["right"])) for one in found]
        for (plant, name), found in results.items()
    }
    publish("sensor_faults", printed, {"right": right}, options.write)


if __name__ == "__main__":
    main()
