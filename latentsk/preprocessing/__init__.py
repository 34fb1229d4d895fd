"""Columns of any kind as numbers on one scale."""

from latentsk.preprocessing._category_encoder import CategoryEncoder
from latentsk.preprocessing._datetime_encoder import DatetimeEncoder
from latentsk.preprocessing._robust_standardizer import RobustStandardizer
from latentsk.preprocessing._sliding_windows import SlidingWindows
from latentsk.preprocessing._table import make_table_preprocessor

__all__ = [
    "CategoryEncoder",
    "DatetimeEncoder",
    "RobustStandardizer",
    "SlidingWindows",
    "make_table_preprocessor",
]
