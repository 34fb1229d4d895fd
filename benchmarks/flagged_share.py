"""Share of fresh clean rows that "auto" calls outliers, by law and dimension.

    python benchmarks/flagged_share.py [--draws N] [--jobs N] [--write]

LatentOutlierDetector, as it is and with `assume_clean=True`, is fitted to rows whose
columns are independent and of one law, and judges 2,000 others of the same law. Shares
are means over draws. scikit-learn's IsolationForest is there for reference.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from itertools import product
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from _harness import publish, table, threads
from joblib import Parallel, delayed
from sklearn.ensemble import IsolationForest

from latentsk import LatentOutlierDetector

N_FRESH = 2_000
# The aims: at most this share of any law, and at least that of those with tails.
MOST, LEAST, WITH_TAILS = 0.03, 0.003, ("normal", "exponential")

LAWS: dict[str, Callable[..., np.ndarray]] = {
    "normal": np.random.Generator.normal,
    "uniform": np.random.Generator.uniform,
    "exponential": np.random.Generator.exponential,
    "log-normal": np.random.Generator.lognormal,
}
DETECTORS: dict[str, Callable[[int], Any]] = {
    "LatentOutlierDetector()": lambda seed: LatentOutlierDetector(random_state=seed),
    "LatentOutlierDetector(assume_clean=True)": lambda seed: LatentOutlierDetector(
        assume_clean=True, random_state=seed
    ),
    "IsolationForest()": lambda seed: IsolationForest(random_state=seed),
}
# Detectors that are not judged by the aims, and their one number of training rows.
REFERENCES = {"IsolationForest()": 2_000}


class Case(NamedTuple):
    """A cell of the table."""

    detector: str
    n_rows: int
    law: str
    n_columns: int


def flagged(case: Case, seed: int) -> float:
    """Return the share of fresh rows that are called outliers."""
    rng = np.random.default_rng(seed)
    draw = LAWS[case.law]
    train = draw(rng, size=(case.n_rows, case.n_columns))
    fresh = draw(rng, size=(N_FRESH, case.n_columns))
    with threads(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DETECTORS[case.detector](seed).fit(train)
        return float(np.mean(model.predict(fresh) == -1))


def shares(cases: list[Case], draws: int, jobs: int) -> dict[Case, float]:
    """Return the mean share of each case."""
    todo = [(case, seed) for case in cases for seed in range(draws)]
    found = Parallel(n_jobs=jobs)(delayed(flagged)(*task) for task in todo)
    by_case = np.reshape(found, (len(cases), draws)).tolist()
    return {case: mean(values) for case, values in zip(cases, by_case, strict=True)}


def verdict(found: dict[Case, float]) -> str:
    """Say how the detector's extremes compare with the aims."""
    judged = {case: s for case, s in found.items() if case.detector not in REFERENCES}
    tails = {case: s for case, s in judged.items() if case.law in WITH_TAILS}
    highest = max(judged, key=judged.__getitem__)
    lowest = min(tails, key=tails.__getitem__)
    missed = sum(s > MOST for s in judged.values())
    missed += sum(s < LEAST for s in tails.values())
    return (
        f"Highest: {percent(judged[highest])} % ({describe(highest)}). Lowest of "
        f"{' and '.join(WITH_TAILS)}: {percent(tails[lowest])} % ({describe(lowest)}). "
        f"Outside of the aims: {missed} of {len(judged)}."
    )


def describe(case: Case) -> str:
    return f"{case.detector}, {case.n_rows:,} x {case.n_columns}, {case.law}"


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def shares_table(found: dict[Case, float]) -> str:
    """Return a row for each detector, number of rows and law; percent."""
    dimensions = sorted({case.n_columns for case in found})
    lines = dict.fromkeys(case[:3] for case in found)
    body: list[list[object]] = [
        [name, f"{n:,}", law]
        + [percent(found[Case(name, n, law, d)]) for d in dimensions]
        for name, n, law in lines
    ]
    header = ["flagged (%)", "rows", "law", *(f"{d} col." for d in dimensions)]
    return table(header, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dimensions", type=int, nargs="+", default=[1, 2, 3, 5, 10, 20, 50]
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2_000])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="update results/, README")
    options = parser.parse_args()
    cases = [
        Case(*values)
        for values in product(DETECTORS, options.sizes, LAWS, options.dimensions)
        if REFERENCES.get(values[0], values[1]) == values[1]
    ]
    found = shares(cases, options.draws, options.jobs)
    text = f"Draws: {options.draws}\n\n{shares_table(found)}\n\n{verdict(found)}"
    by_line: dict[str, list[float]] = {}  # over the dimensions
    for case, share in found.items():
        line = f"{case.detector}, {case.n_rows} rows, {case.law}"
        by_line.setdefault(line, []).append(round(share, 5))
    document = {"dimensions": options.dimensions, "shares": by_line}
    publish("flagged_share", text, document, options.write)


if __name__ == "__main__":
    main()
