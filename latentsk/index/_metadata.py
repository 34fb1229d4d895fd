"""What is known of rows: a table, checked."""

from __future__ import annotations

from typing import Any

import pandas as pd


def check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, pd.DataFrame):
        raise TypeError(f"metadata must be a DataFrame, got {type(metadata).__name__}.")
    if not metadata.columns.is_unique:
        raise ValueError(
            f"metadata must have columns of different names, got "
            f"{list(metadata.columns)}."
        )
