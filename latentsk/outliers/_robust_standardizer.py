"""Stub."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from latentsk.outliers._columns import robust_scales


class RobustStandardizer(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.center_ = np.median(X, axis=0)
        self.scale_ = robust_scales(X)
        return self

    def transform(self, X):
        return (X - self.center_) / self.scale_

    def inverse_transform(self, X):
        return X * self.scale_ + self.center_

    def get_feature_names_out(self, names=None):
        return [f"x{i}" for i in range(len(self.scale_))] if names is None else names
