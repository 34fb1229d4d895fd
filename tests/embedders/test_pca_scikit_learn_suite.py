"""scikit-learn's own tests of PCA, with PCAEmbedder in PCA's place.

The source is read from the installed scikit-learn; what is changed or left out is
listed here with the reason.
"""

from functools import partial
from pathlib import Path

import sklearn.decomposition

from latentsk import PCAEmbedder

_SUITE = Path(sklearn.decomposition.__file__).parent / "tests" / "test_pca.py"

# Text replaced before the suite is compiled.
_REPLACEMENTS = {
    # The class under test.
    "from sklearn.decomposition import PCA\n": "",
    # A private attribute that is public here.
    "pca_auto._fit_svd_solver": "pca_auto.svd_solver_",
    # The prefix of the feature names is the class's name.
    'f"pca{i}"': 'f"pcaembedder{i}"',
    # A large size that is arbitrary, and sparse matrices beside arrays, would take half
    # of the suite's time.
    "SPARSE_M, SPARSE_N = 1000, 300": "SPARSE_M, SPARSE_N = 400, 100",
    "CSR_CONTAINERS + CSC_CONTAINERS": "CSR_CONTAINERS[-1:] + CSC_CONTAINERS[-1:]",
}

# Tests that leave n_components to PCA's default, None; here the default is "auto".
_WITH_NONE = {
    "test_n_components_none",
    "test_pca_n_components_mostly_explained_variance_ratio",
    "test_variance_correctness",
}

# Tests that assert what is decided otherwise here, on purpose.
_EXCEPTIONS = {
    # Asserts that whitening lowers the likelihood of the same data, as scikit-learn
    # scales the components twice (its issue 13898). The rest of the test is in
    # test_pca.py, with the likelihood of scipy.
    "test_pca_score",
    # Asserts only that scoring with zero noise variance does not raise. Where the
    # covariance is singular (more features than rows) the value is rounding noise, and
    # PCAEmbedder raises instead; both halves of it are in test_pca.py.
    "test_pca_zero_noise_variance_edge_cases",
}


def _suite():
    source = _SUITE.read_text()
    for old, new in _REPLACEMENTS.items():
        assert old in source, f"scikit-learn's suite no longer contains {old!r}"
        source = source.replace(old, new)
    namespace = {"PCA": PCAEmbedder, "__name__": __name__, "__file__": str(_SUITE)}
    exec(compile(source, str(_SUITE), "exec"), namespace)
    return namespace


def _with_default_none(test):
    """Run a test with PCA's own default, None."""
    globals_ = {**test.__globals__, "PCA": partial(PCAEmbedder, n_components=None)}
    copy = type(test)(test.__code__, globals_, test.__name__, test.__defaults__)
    copy.__dict__.update(test.__dict__)
    return copy


_TESTS = {name: test for name, test in _suite().items() if name.startswith("test_")}
assert set(_TESTS) >= _WITH_NONE | _EXCEPTIONS
globals().update(
    {
        name: _with_default_none(test) if name in _WITH_NONE else test
        for name, test in _TESTS.items()
        if name not in _EXCEPTIONS
    }
)
