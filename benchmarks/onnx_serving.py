"""Detectors as ONNX files in onnxruntime, against themselves: speed, and difference.

    python benchmarks/onnx_serving.py [--threads N] [--rounds N] [--write]

A default detector is fitted and exported to float64. Rows that it has not seen are
scored one at a time and 1,000 at a time. "difference" is the largest one of 10,000
scores, over their size or one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from _harness import arguments, medians, paired, publish, table, threads
from sklearn.datasets import load_digits, load_wine

from latentsk import LatentOutlierDetector, to_onnx

N_SCORED, N_BATCH, N_SINGLE = 10_000, 1_000, 50


def tables() -> dict[str, tuple[object, object]]:
    """Return training rows, and others, by a name."""
    rng = np.random.default_rng(0)
    wine, digits = load_wine().data, load_digits().data
    mixed = payments(15_000)
    return {
        "wine, 13 columns": (wine, jittered(wine, rng)),
        "digits, 64 columns": (digits, jittered(digits, rng)),
        "normal, 30 columns, 5,000 neighbours": (
            rng.normal(size=(5_000, 30)),
            rng.normal(size=(N_SCORED, 30)),
        ),
        "payments, 6 mixed columns": (mixed[:5_000], mixed[5_000:]),
    }


def jittered(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    drawn = rows[rng.integers(len(rows), size=N_SCORED)]
    return drawn + rng.normal(size=drawn.shape) * rows.std(axis=0) * 0.1


def payments(n_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, n_rows).round(2),
            "age": rng.integers(18, 90, n_rows).astype(float),
            "city": rng.choice(["Bonn", "Nice", "Oslo", "Rome"], n_rows),
            "card": rng.choice(["credit", "debit"], n_rows),
            "weekend": (rng.random(n_rows) < 0.3).astype(float),
            "paid": pd.date_range("2026-01-01", periods=n_rows, freq="7min"),
        }
    )
    frame.loc[rng.random(n_rows) < 0.05, "age"] = np.nan
    return frame


def fed(rows: object) -> dict[str, np.ndarray]:
    """Return rows as the inputs of a file."""
    if not isinstance(rows, pd.DataFrame):
        return {"X": np.asarray(rows)}
    found = {}
    for name, cells in rows.items():
        if cells.dtype.kind == "M":
            values = cells.to_numpy("datetime64[ns]").astype(np.int64)
        else:
            values = cells.to_numpy(float if cells.dtype.kind == "f" else object)
        found[str(name)] = values.reshape(-1, 1)
    return found


def session_of(detector: LatentOutlierDetector, n_threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(detector, path, methods=["score_samples"])
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )


def first(rows: object, n_rows: int) -> object:
    return rows.iloc[:n_rows] if isinstance(rows, pd.DataFrame) else rows[:n_rows]


def measured(name: str, fit: object, rows: object, options) -> list[object]:
    detector = LatentOutlierDetector(random_state=0).fit(fit)
    session = session_of(detector, options.threads)
    (found,) = session.run(None, fed(rows))
    expected = detector.score_samples(rows)
    difference = np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0))
    batch, row = first(rows, N_BATCH), first(rows, 1)
    fed_batch, fed_row = fed(batch), fed(row)

    def repeated(run):
        return lambda: [run() for _ in range(N_SINGLE)]

    seconds = medians(
        paired(
            {
                "ours, batch": lambda: detector.score_samples(batch),
                "onnx, batch": lambda: session.run(None, fed_batch),
                "ours, single": repeated(lambda: detector.score_samples(row)),
                "onnx, single": repeated(lambda: session.run(None, fed_row)),
            },
            options.rounds,
        )
    )
    per_second = [
        f"{n / seconds[key]:,.0f}"
        for key, n in {
            "onnx, single": N_SINGLE,
            "ours, single": N_SINGLE,
            "onnx, batch": N_BATCH,
            "ours, batch": N_BATCH,
        }.items()
    ]
    return [name, *per_second, f"{difference:.0e}"]


def main() -> None:
    options = arguments(__doc__).parse_args()
    with threads(options.threads):
        rows = [measured(name, *parts, options) for name, parts in tables().items()]
    header = [
        "rows per second",
        "one by one, onnx",
        "one by one, latentsk",
        "by 1,000, onnx",
        "by 1,000, latentsk",
        "difference",
    ]
    document = {"threads": options.threads, "rows": rows}
    publish("onnx_serving", table(header, rows), document, options.write)


if __name__ == "__main__":
    main()
