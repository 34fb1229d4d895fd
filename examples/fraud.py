"""Fraud on a mixed table: from 100,000 payments to 200 alerts a day.

    .venv/bin/python examples/fraud.py

Payments are drawn: numbers, categories, dates, booleans and gaps, and a few frauds. A
detector is fitted to five days as they are, and calibrated on five more. From then on
it gives about 200 alerts a day, with reasons in the columns of the table. On day 15 the
payments change. Needs the extra "onnx". Writes a picture to examples/output.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import pandas as pd

import latentsk
from latentsk import LatentOutlierDetector

OUTPUT = Path(__file__).parent / "output"
ROWS_PER_DAY, FRAUDS_PER_DAY, ALERTS_PER_DAY = 20_000, 60, 200
TRAINING, CALIBRATION, SERVICE = range(1, 6), range(6, 11), range(11, 19)
DRIFT_DAY = 15
MERCHANTS = ["grocery", "fuel", "fashion", "travel", "games", "pharmacy", "cash"]
MERCHANT_SHARES = [0.38, 0.15, 0.14, 0.06, 0.07, 0.12, 0.08]
# The logarithm of the amount at each of these, on average.
LOG_AMOUNTS = np.array([3.2, 3.7, 4.1, 5.6, 3.0, 2.8, 4.6])
COUNTRIES = ["DE", "AT", "CH", "FR", "IT", "PL", "US"]
COUNTRY_SHARES = [0.72, 0.08, 0.07, 0.05, 0.04, 0.03, 0.01]
START = pd.Timestamp("2026-03-02")


def payments(
    day: int, n_rows: int = ROWS_PER_DAY, n_frauds: int = FRAUDS_PER_DAY
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the payments of a day, and which of them are frauds."""
    rng = np.random.default_rng(day)
    is_fraud = np.arange(n_rows) < n_frauds
    merchant = rng.choice(len(MERCHANTS), size=n_rows, p=MERCHANT_SHARES)
    log_amount = LOG_AMOUNTS[merchant] + rng.normal(0.0, 0.6, size=n_rows)
    hour = np.clip(rng.normal(14.5, 3.5, size=n_rows), 0.0, 23.99)
    age = np.clip(rng.normal(45.0, 15.0, size=n_rows), 18.0, 95.0).round()
    # Frauds: twenty times the usual amount at such a merchant, at night.
    log_amount[is_fraud] += rng.normal(3.0, 0.5, size=n_frauds)
    hour[is_fraud] = rng.uniform(0.0, 5.0, size=n_frauds)
    if day >= DRIFT_DAY:  # prices rise
        log_amount += 0.15
    limit = np.exp(7.0 + 0.01 * (age - 45.0) + rng.normal(0.0, 0.3, size=n_rows))
    X = pd.DataFrame(
        {
            "amount": np.exp(log_amount).round(2),
            "limit": limit.round(-1),
            "used_share": np.nan,
            "age": age,
            "merchant": pd.Categorical.from_codes(merchant, MERCHANTS),
            "country": rng.choice(COUNTRIES, size=n_rows, p=COUNTRY_SHARES),
            "is_online": rng.random(n_rows) < 0.35,
            "paid_at": START
            + pd.Timedelta(days=day - 1)
            + pd.to_timedelta((3600 * hour).round(), unit="s"),
        }
    )
    X["used_share"] = (X["amount"] / X["limit"] + rng.uniform(0, 0.4, n_rows)).round(3)
    X.loc[rng.random(n_rows) < 0.02, "limit"] = 99_999.0  # not known
    X.loc[rng.random(n_rows) < 0.04, "age"] = np.nan
    X.loc[rng.random(n_rows) < 0.03, "country"] = None
    X.index = pd.Index([f"day{day}-{i:05d}" for i in range(n_rows)])
    return X, is_fraud


def joined(days: range) -> pd.DataFrame:
    """Return the payments of some days."""
    return pd.concat([payments(day)[0] for day in days])


def fitted() -> LatentOutlierDetector:
    """Return a detector of 200 alerts a day."""
    detector = LatentOutlierDetector(random_state=0).fit(joined(TRAINING))
    detector.calibrate(joined(CALIBRATION))
    return detector.set_threshold(n_alerts=ALERTS_PER_DAY, per=ROWS_PER_DAY)


def in_service(detector: LatentOutlierDetector) -> pd.DataFrame:
    """Return a line for each day: alerts, frauds among them, drift."""
    lines = {}
    for day in SERVICE:
        X, is_fraud = payments(day)
        is_alert = detector.predict(X) == -1
        drift = detector.drift_report(X)
        lines[day] = {
            "alerts": int(is_alert.sum()),
            "frauds found": int((is_alert & is_fraud).sum()),
            "KS distance": drift["ks_distance"],
            "p-value": drift["p_value"],
        }
    return pd.DataFrame(lines).T.rename_axis("day")


def reasons_of(detector: LatentOutlierDetector, day: int) -> pd.DataFrame:
    """Return the reasons of all alerts of a day, after a check that they add up."""
    X, _ = payments(day)
    alerts = X[detector.predict(X) == -1]
    reasons = detector.explain(alerts)
    sums = reasons["contribution"].groupby(level="row", sort=False).sum()
    np.testing.assert_allclose(sums, detector.score_samples(alerts))
    return reasons


def largest_reasons(reasons: pd.DataFrame, n_rows: int = 3) -> pd.DataFrame:
    """Return the three largest reasons of the most abnormal rows."""
    totals = reasons["contribution"].groupby(level="row").sum().nsmallest(n_rows)
    first = [
        reasons.loc[[row]].nsmallest(3, "contribution")[
            ["contribution", "value", "nearest_1"]
        ]
        for row in totals.index
    ]
    return pd.concat(first)


def check_file(detector: LatentOutlierDetector, X: pd.DataFrame) -> int:
    """Save the detector and load it again; return the size of the file in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.latentsk"
        latentsk.save(detector, path)
        loaded = latentsk.load(path)
        same = np.array_equal(loaded.score_samples(X), detector.score_samples(X))
        assert same
        return path.stat().st_size


def label(cell: Any) -> str:
    """Return a category as the file names it: 2.0 is "2"."""
    is_whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if is_whole else cell)


def onnx_inputs(session: Any, X: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return an array for each input, as a service without this package gives them."""
    found = {}
    for value in session.get_inputs():
        cells = X[value.name]
        if value.type == "tensor(string)":
            named = cells.astype(object).map(label, na_action="ignore")
            column = named.fillna("").to_numpy(object)
        elif value.type == "tensor(int64)":
            local = cells.dt.tz_localize(None)
            column = local.to_numpy("datetime64[ns]").astype("int64")
        else:
            column = cells.to_numpy("float64")
        found[value.name] = column.reshape(-1, 1)
    return found


def check_onnx(detector: LatentOutlierDetector, X: pd.DataFrame) -> float:
    """Write the detector as an ONNX file; return how far its scores are from ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        latentsk.to_onnx(detector, path)
        session = onnxruntime.InferenceSession(path)
        scores, labels = session.run(
            ["score_samples", "predict"], onnx_inputs(session, X)
        )
    assert (labels == detector.predict(X)).all()
    expected = detector.score_samples(X)
    return float(np.max(np.abs(scores - expected) / (1.0 + np.abs(expected))))


def draw(days: pd.DataFrame, path: Path) -> None:
    """Draw the alerts and the p-values of each day."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 4.6), sharex=True, layout="constrained"
    )
    names = [str(day) for day in days.index]
    above.axhspan(180, 220, color="#009E73", alpha=0.15, label="200, and a tenth")
    above.bar(names, days["alerts"], color="#999999", label="alerts")
    above.bar(names, days["frauds found"], color="#D55E00", label="frauds among them")
    above.set_ylabel("alerts a day")
    above.set_ylim(0, 1.4 * days["alerts"].max())  # room for the legend
    above.legend(loc="upper left", ncols=3, fontsize=8)
    below.semilogy(names, days["p-value"], "o-", color="#0072B2")
    below.axhline(0.001, color="#999999", linewidth=0.8, linestyle="--")
    below.set_ylabel("p-value of no drift")
    below.set_xlabel(f"day; prices rise by 16 % on day {DRIFT_DAY}")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Print what is found, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    detector = fitted()
    print(f"codes found: {detector.codes_}\n")
    days = in_service(detector)
    formats = ["{:.0f}".format] * 2 + ["{:.4f}".format, "{:.2g}".format]
    print(days.to_string(formatters=dict(zip(days, formats, strict=True))), "\n")
    stable = days.loc[: DRIFT_DAY - 1, "alerts"].mean()
    print(f"alerts on a stable day: {stable:.0f}; frauds a day: {FRAUDS_PER_DAY}")
    alarm = days.index[days["p-value"] < 0.001].min()
    print(f"first day with a p-value below 0.001: {alarm}\n")
    print(largest_reasons(reasons_of(detector, SERVICE[0])).round(1).to_string(), "\n")
    size = check_file(detector, payments(SERVICE[0])[0])
    print(f"saved and loaded: {size / 1e6:.1f} MB, the same scores")
    difference = check_onnx(detector, payments(SERVICE[0])[0])
    print(f"by onnxruntime: the same labels, scores within {difference:.0e}")
    draw(days, arguments.output / "fraud.png")


if __name__ == "__main__":
    main()
