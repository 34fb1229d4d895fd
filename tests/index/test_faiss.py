"""With FAISS, without it, and with both of its packages installed."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from latentsk import LatentIndex, _faiss
from latentsk.index import _candidates

# Enough queries for backend="auto" to choose FAISS where there is one.
N_QUERIES = 600


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(N_QUERIES, 3))


@pytest.fixture
def forgetful(monkeypatch):
    """Forget what is known of the installation, before and after."""
    cached = (_faiss.faiss_available, _faiss.load_faiss)
    for function in cached:
        function.cache_clear()
    yield monkeypatch
    for function in cached:
        function.cache_clear()


@pytest.fixture
def without_faiss(forgetful):
    forgetful.setattr(_faiss, "distributions", list)
    forgetful.setitem(sys.modules, "faiss", None)


@pytest.fixture
def with_both(forgetful):
    names = ["numpy", "faiss-cpu", "Faiss-GPU", None]
    found = [SimpleNamespace(metadata={"Name": name}) for name in names]
    forgetful.setattr(_faiss, "distributions", lambda: found)


@pytest.mark.usefixtures("without_faiss")
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_search_does_without_faiss(rows, backend, brute_force, assert_nearest):
    assert not _faiss.faiss_available()
    index = LatentIndex(backend=backend).fit(rows)
    assert_nearest(*index.kneighbors(), brute_force(rows, rows, own=True))


@pytest.mark.usefixtures("without_faiss")
def test_asking_for_faiss_names_the_extra(rows):
    index = LatentIndex(backend="faiss")
    with pytest.raises(ImportError, match=r"pip install 'latentsk\[cpu\]'"):
        index.fit(rows)
    assert vars(index).keys() == index.get_params(deep=False).keys()


@pytest.mark.usefixtures("with_both")
def test_two_packages_at_once_are_named(rows):
    index = LatentIndex(backend="faiss")
    with pytest.raises(ImportError, match="faiss-cpu and faiss-gpu are both installed"):
        index.fit(rows)
    assert vars(index).keys() == index.get_params(deep=False).keys()


@pytest.mark.parametrize("name", ["faiss-cpu", "faiss-gpu"])
def test_one_package_is_fine(forgetful, name):
    pytest.importorskip("faiss")
    found = [SimpleNamespace(metadata={"Name": name})]
    forgetful.setattr(_faiss, "distributions", lambda: found)
    assert _faiss.load_faiss().__name__ == "faiss"


def test_auto_takes_faiss_for_many_queries(rows, monkeypatch):
    pytest.importorskip("faiss")
    taken = []
    with_faiss = _candidates._with_faiss

    def counted(*arguments):
        taken.append(len(arguments[0]))
        return with_faiss(*arguments)

    monkeypatch.setattr(_candidates, "_with_faiss", counted)
    index = LatentIndex().fit(rows)
    index.kneighbors(rows[:10])
    assert taken == []
    index.kneighbors(rows)
    assert taken == [N_QUERIES]


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
def test_backends_give_the_same_table(rows, metric):
    pytest.importorskip("faiss")
    tables = [
        LatentIndex(metric=metric, backend=backend).fit(rows).search(rows)
        for backend in ("faiss", "torch", "auto")
    ]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
