"""The step of a Pipeline that has made what the next one refuses is named."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from latentsk import LatentIndex, LatentOutlierDetector, PCAEmbedder, RobustStandardizer

TABLE = pd.DataFrame(
    np.random.default_rng(0).lognormal(size=(60, 3)), columns=["amount", "b", "c"]
)
ZERO, NEGATIVE = TABLE.copy(), TABLE.copy()
ZERO.loc[7, "amount"], NEGATIVE.loc[7, "amount"] = 0.0, -1.0
LOG = FunctionTransformer(np.log, feature_names_out="one-to-one")


def of_amount(step):
    columns = make_column_transformer(
        (step, ["amount"]), remainder="passthrough", verbose_feature_names_out=False
    )
    return columns.set_output(transform="pandas")


ENDS = {"robust": (RobustStandardizer(), PCAEmbedder(1)), "plain": (PCAEmbedder(1),)}
CALLS = {
    "detector.fit": lambda e, X: LatentOutlierDetector(e, random_state=0).fit(X),
    "explain": lambda e, X: LatentOutlierDetector(e).fit(TABLE).explain(X),
    "score_parts": lambda e, X: LatentOutlierDetector(e).fit(TABLE).score_parts(X),
    "update": lambda e, X: LatentOutlierDetector(e).fit(TABLE).update(X),
    "index.fit": lambda e, X: LatentIndex(e).fit(X),
    "kneighbors": lambda e, X: LatentIndex(e).fit(TABLE).kneighbors(X),
}


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
@pytest.mark.parametrize(
    ("call", "end", "rows", "said"),
    [
        ("detector.fit", "robust", ZERO, "makes -inf of 0"),
        ("explain", "robust", ZERO, "makes -inf of 0"),
        ("score_parts", "robust", ZERO, "makes -inf of 0"),
        ("update", "robust", ZERO, "makes -inf of 0"),
        ("index.fit", "robust", ZERO, "makes -inf of 0"),
        ("kneighbors", "robust", ZERO, "makes -inf of 0"),
        ("detector.fit", "plain", NEGATIVE, "makes nan of -1"),
        ("explain", "plain", NEGATIVE, "makes nan of -1"),
        ("kneighbors", "plain", NEGATIVE, "makes nan of -1"),
    ],
)
def test_a_logarithm_of_what_has_none_is_told(call, end, rows, said):
    place = f"Step 'columntransformer' of the Pipeline {said} in column 'amount', row 7"
    with pytest.raises(ValueError, match=place):
        CALLS[call](make_pipeline(of_amount(LOG), *ENDS[end]), rows)
    remedy = FunctionTransformer(np.arcsinh, feature_names_out="one-to-one")
    CALLS[call](make_pipeline(of_amount(remedy), *ENDS[end]), rows)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_the_second_of_two_steps_is_told():
    pipeline = make_pipeline(StandardScaler(), FunctionTransformer(np.reciprocal))
    rows = np.array([[-1.0], [0.0], [1.0]])  # whose mean is zero
    index = LatentIndex(make_pipeline(*pipeline, PCAEmbedder(1)))
    with pytest.raises(ValueError, match=r"Step 'functiontransformer' .* inf of 0 in"):
        index.fit(rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_the_rows_hold_is_said_of_the_rows(bad):
    rows = TABLE.assign(amount=TABLE["amount"].where(TABLE.index != 7, bad))
    embedder = make_pipeline(of_amount(LOG), PCAEmbedder(1))
    with pytest.raises(ValueError, match=r"^Input X contains .* 'amount', row 7"):
        LatentOutlierDetector(embedder).fit(rows)


def test_a_pipeline_alone_says_that_a_step_may_have_made_it():
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=r"np\.log1p"):
        make_pipeline(of_amount(LOG), PCAEmbedder(1)).fit(ZERO)
