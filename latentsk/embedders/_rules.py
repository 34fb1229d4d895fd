"""Rules of the fitted state that embedders share."""

from __future__ import annotations

from latentsk.persistence._schema import count, maybe, names, number, text

N_FEATURES = {"n_features_in_": count(1, named="n_features")}
FEATURE_NAMES = {"feature_names_in_": names("n_features")}
THRESHOLD = {"offset_": number(finite=False), "_offset_score_method": maybe(text())}
