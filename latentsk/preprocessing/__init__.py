"""Columns of any kind as numbers on one scale."""

from latentsk.preprocessing._robust_standardizer import RobustStandardizer

__all__ = ["RobustStandardizer"]
