"""What overlapping windows do to thresholds, p-values and tests of drift.

    python benchmarks/overlapping_windows.py [--seeds N] [--jobs N] [--write]

Series without any fault. First, LatentOutlierDetector is fitted to windows that begin
more or fewer steps after each other, for eight sensors that follow two slow signals and
have noise of their own, of which the next step keeps a share. False alarms are counted
among new windows that do not overlap.

Then a detector, fitted to windows a quarter of their length apart, is calibrated again
and again on a series of 2,000 steps and judges another one, both in windows that
overlap or do not. Asked is how often `drift_report` has a p-value below 0.05, how often
conformal p-values are at most 0.05, how often they are the least there is, compared to
what that claims, and in how many of the series `predict_fdr(level=0.1)` flags anything:
it should be one in ten at most.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict

import numpy as np
from _harness import publish, table, threads
from joblib import Parallel, delayed
from sensor_faults import PLANTS, autoregressive

from latentsk import LatentOutlierDetector, SlidingWindows
from latentsk.outliers._decisions import benjamini_hochberg, conformal_p_values
from latentsk.outliers._drift import drift_line

LENGTHS, KEPT = (12, 24, 48), (0.5, 0.9, 0.98)
LENGTH, STEPS = 24, (1, 6, 24, 48)
N_STEPS, N_PAIRS = 2_000, 20

Found = dict[str, list[float]]


def cut(series: np.ndarray, length: int, step: int) -> np.ndarray:
    return SlidingWindows(length, step=step).fit_transform(series)


def steps_of(length: int) -> dict[str, int]:
    """Return by name how many steps may lie between windows."""
    shares = {"an eighth": 8, "a quarter": 4, "half": 2, "a length": 1}
    return {"one step": 1, **{name: length // by for name, by in shares.items()}}


def false_alarms(seed: int) -> Found:
    """Return the share of new windows that are flagged."""
    rng, found = np.random.default_rng(seed), defaultdict(list)
    for kept in KEPT:
        loadings = rng.normal(size=(2, 8))
        slow = max(0.95, kept)
        series = [
            autoregressive(rng, n_steps, 2, slow) @ loadings
            + 0.4 * autoregressive(rng, n_steps, 8, kept)
            for n_steps in (4_000, 8_000)
        ]
        for length in LENGTHS:
            unseen = cut(series[1], length, length)
            for name, step in steps_of(length).items():
                with threads(1):
                    detector = LatentOutlierDetector(random_state=seed)
                    detector.fit(cut(series[0], length, step))
                    flagged = detector.predict(unseen) == -1
                found[f"{kept}, {length}, {name}"].append(float(flagged.mean()))
    return dict(found)


def decisions(plant: str, seed: int) -> Found:
    """Return what is decided of series like those that calibrate."""
    draw, rng = PLANTS[plant](seed), np.random.default_rng([seed, 2])
    found = defaultdict(list)
    with threads(1):
        windows = cut(draw(rng, 6_000), LENGTH, LENGTH // 4)
        detector = LatentOutlierDetector(random_state=seed).fit(windows)
        pairs = [[draw(rng, N_STEPS) for _ in range(2)] for _ in range(N_PAIRS)]
        scored = [
            [detector.score_samples(cut(one, LENGTH, 1)) for one in pair]
            for pair in pairs
        ]
    for calibration, new in scored:
        for step in STEPS:
            reference, scores = calibration[::step], new[::step]
            line = drift_line(scores, reference, detector.offset_)
            p_values = conformal_p_values(scores, reference)
            is_least = p_values * (len(reference) + 1) < 1.5
            found[f"{step}, drift"].append(line["p_value"] < 0.05)
            found[f"{step}, p"].append(np.mean(p_values <= 0.05))
            claimed = 1 / (len(reference) + 1)
            found[f"{step}, least"].append(np.mean(is_least) / claimed)
            any_flagged = benjamini_hochberg(p_values, 0.1).any()
            found[f"{step}, fdr"].append(any_flagged)
    return {name: [float(np.mean(values))] for name, values in found.items()}


def mean(found: list[Found], name: str) -> float:
    return float(np.mean([value for one in found for value in one[name]]))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def fitted(found: list[Found]) -> str:
    """Return false alarms, a line for each length and noise."""
    body = [
        [
            f"{kept:g}",
            str(length),
            *(percent(mean(found, f"{kept}, {length}, {n}")) for n in steps_of(length)),
        ]
        for kept in KEPT
        for length in LENGTHS
    ]
    names = [f"{name} apart" for name in steps_of(1)]
    return table(["noise kept by a step", "length", *names], body)


def calibrated(found: dict[str, list[Found]]) -> str:
    """Return what is decided, a line for each plant and step."""
    body = [
        [
            plant,
            str(step),
            percent(mean(some, f"{step}, drift")),
            percent(mean(some, f"{step}, p")),
            f"{mean(some, f'{step}, least'):.1f} times",
            percent(mean(some, f"{step}, fdr")),
        ]
        for plant, some in found.items()
        for step in STEPS
    ]
    header = ["plant", "steps apart", "drift, p < 0.05", "p-values <= 0.05"]
    return table([*header, "least p-value, of claimed", "any with FDR 0.1"], body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    seeds, parallel = range(options.seeds), Parallel(n_jobs=options.jobs)
    alarms = parallel(delayed(false_alarms)(seed) for seed in seeds)
    found = {
        plant: parallel(delayed(decisions)(plant, seed) for seed in seeds)
        for plant in PLANTS
    }
    tables = [fitted(alarms), calibrated(found)]
    printed = "\n\n".join([f"Seeds: {options.seeds}", *tables])
    document = {"false alarms": alarms, "decisions": found}
    publish("overlapping_windows", printed, document, options.write)


if __name__ == "__main__":
    main()
