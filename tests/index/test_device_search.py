"""The search of a GPU, run on the CPU's tensors where there is no GPU."""

import types

import numpy as np
import pytest
import torch

from latentsk import LatentIndex
from latentsk.index import _building, _device_search
from latentsk.index._device_search import (
    DeviceSearch,
    Resident,
    fits_device,
    smallest_on_device,
)
from latentsk.index._exact import ExactSearch, Query

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    """A device that is searched as a GPU is."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


def _scores(queries, rows, similarity):
    if similarity:
        return -(queries.astype(np.float64) @ rows.T.astype(np.float64))
    differences = queries[:, None].astype(np.float64) - rows[None]
    return np.sum(differences**2, axis=2)


@pytest.mark.parametrize("similarity", [False, True])
@pytest.mark.parametrize("score_elements", [2**26, 2**10])
def test_scores_are_those_of_float64(device, similarity, score_elements, monkeypatch):
    monkeypatch.setattr(_device_search, "SCORE_ELEMENTS", score_elements)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 7)).astype(np.float32)
    queries = rng.normal(size=(50, 7)).astype(np.float32)
    tensors = [torch.from_numpy(a).to(device) for a in (queries, rows)]
    norms = None if similarity else (tensors[1] ** 2).sum(dim=1)
    scores, positions = smallest_on_device(tensors[0], Resident(tensors[1], norms), 5)
    expected = _scores(queries, rows, similarity)
    order = np.argsort(expected, axis=1)[:, :5]
    np.testing.assert_array_equal(positions.cpu().numpy(), order)
    nearest = np.take_along_axis(expected, order, axis=1)
    np.testing.assert_allclose(scores.cpu().numpy(), nearest, atol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("name", ["half equal", "one-hot", "binary", "zeros"])
def test_ties_on_a_device_come_by_position(device, metric, name):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, 6))
    rows[rng.random(300) < 0.5] = rows[0]
    if name == "one-hot":
        rows = np.eye(6)[rng.integers(0, 6, 300)]
    if name == "binary":
        rows = rng.integers(0, 2, (300, 6)).astype(float)
    queries = np.zeros((3, 6)) if name == "zeros" else rows[:20] + 0.0
    here, there = (
        ExactSearch(rows, metric),
        DeviceSearch(ExactSearch(rows, metric), device),
    )
    values = np.array(
        [
            here.space.exact_distances(q, here.space.rows(slice(None)))
            for q in here.space.queries(queries)
        ]
    )
    for eligible in (
        np.arange(300),
        np.delete(np.arange(300), [0, 9]),
        np.arange(0, 300, 7),
    ):
        order = np.argsort(values[:, eligible], axis=1, kind="stable")[:, :5]
        for _ in range(2):  # before and after equal rows are known
            found = there.neighbors(Query(queries, 5, None, eligible))
            np.testing.assert_array_equal(found[1], eligible[order])


def test_tensors_of_zeros_are_answered_by_position(device):
    rows = np.random.default_rng(3).normal(size=(50, 4))
    search = DeviceSearch(ExactSearch(rows, "inner_product"), device)
    queries = torch.ones((2, 4), device=device)
    assert search.takes(queries)
    queries[1] = 0.0
    assert not search.takes(queries)
    search = DeviceSearch(ExactSearch(rows, "euclidean"), device)
    assert search.takes(queries)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "inner_product"])
@pytest.mark.parametrize("certified", [True, False])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("filtered", [False, True])
def test_device_answers_as_the_cpu_does(device, metric, certified, offset, filtered):
    rng = np.random.default_rng(1)
    rows = offset + rng.normal(size=(400, 6))
    queries = offset + rng.normal(size=(20, 6))
    eligible = np.flatnonzero(rng.random(400) < 0.3) if filtered else None
    here = ExactSearch(rows, metric)
    there = DeviceSearch(here, device)
    tolerance = {"rtol": 0, "atol": 0} if certified else {"rtol": 1e-3, "atol": 1e-4}
    for exclude in (None, np.arange(20)):
        found = there.neighbors(
            Query(queries, 4, exclude, eligible, certified=certified)
        )
        expected = here.neighbors(Query(queries, 4, exclude, eligible, certified=True))
        np.testing.assert_allclose(found[0], expected[0], **tolerance)
        if certified:
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("metric", ["euclidean", "inner_product"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_queries_on_the_device_stay_there(device, metric, offset):
    rng = np.random.default_rng(2)
    rows = offset + rng.normal(size=(200, 5))
    queries = offset + rng.normal(size=(9, 5))
    search = DeviceSearch(ExactSearch(rows, metric), device)
    on_device = torch.from_numpy(queries).to(device)
    assert search.takes(on_device)
    values, positions = search.neighbors(Query(on_device, 3))
    expected = ExactSearch(rows, metric).neighbors(Query(queries, 3))
    np.testing.assert_array_equal(positions, expected[1])
    np.testing.assert_allclose(values, expected[0], rtol=1e-4)


def test_rows_that_change_are_taken_to_the_device_again(device):
    rows = np.random.default_rng(3).normal(size=(50, 3))
    search = DeviceSearch(ExactSearch(rows, "euclidean"), device)
    search.neighbors(Query(rows[:1], 1))
    changed = np.concatenate([rows, rows[:1] + 9.0])
    changed[7] = rows[0] - 9.0
    search.add(changed, np.array([7]))
    search.add(changed, np.array([50]))
    queries = changed[[7, 50]]
    assert search.neighbors(Query(queries, 1))[1].ravel().tolist() == [7, 50]


def test_an_index_on_a_device_meets_any_target(device, monkeypatch):
    """Every row is compared there, so no lists are made."""

    def flat_search(vectors, settings):
        return DeviceSearch(ExactSearch(vectors, settings.metric), device)

    monkeypatch.setattr(_building, "flat_search", flat_search)
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(12_000, 8)).astype(np.float32)
    index = LatentIndex(target_recall=0.9, device=str(device)).fit(rows)
    assert index.index_spec_ == "Flat"
    assert index.recall_["recall"].tolist() == [1.0] * len(index.recall_)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("highest", torch.float32), ("high", torch.float64)]
)
def test_products_are_exact_enough_to_certify(precision, dtype, monkeypatch):
    """TF32 keeps ten bits: where it is switched on, products are of float64."""
    monkeypatch.setattr(
        _device_search, "_is_rounded", lambda rows: precision != "highest"
    )
    rows = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    scores, _ = smallest_on_device(rows, Resident(rows, (rows**2).sum(dim=1)), 2)
    assert scores.dtype == dtype


def test_everything_fits_the_host():
    assert fits_device(10**15, torch.device("cpu"))


def test_faiss_is_not_asked_where_it_has_no_gpus(monkeypatch):
    monkeypatch.setattr(_device_search, "_with_faiss", None)
    rows = torch.eye(3)
    _, positions = smallest_on_device(
        rows, Resident(rows, rows.sum(dim=1)), 1, use_faiss=True
    )
    assert positions.ravel().tolist() == [0, 1, 2]


def test_faiss_gets_the_tensors_themselves(monkeypatch):
    """No copy to the host: FAISS is handed the very tensors, and so are its answers."""
    rows, handed = torch.eye(3), []

    class Faiss:
        METRIC_L2, METRIC_INNER_PRODUCT = "L2", "IP"
        StandardGpuResources = GpuDistanceParams = types.SimpleNamespace
        cast_integer_to_float_ptr = cast_integer_to_idx_t_ptr = staticmethod(int)

        @staticmethod
        def bfKnn(resources, arguments):
            handed.append(arguments)

    monkeypatch.setattr(_device_search, "load_faiss", lambda: Faiss)
    _device_search._gpu_resources.cache_clear()
    found = _device_search._with_faiss(rows, Resident(rows, rows.sum(dim=1)), 2)
    _device_search._with_faiss(rows, Resident(rows, None), 2)
    _device_search._gpu_resources.cache_clear()
    assert [arguments.metric for arguments in handed] == ["L2", "IP"]
    first = handed[0]
    assert first.vectors == first.queries == rows.data_ptr()
    assert (first.outDistances, first.outIndices) == tuple(t.data_ptr() for t in found)
    assert (first.k, first.dims, first.numVectors, first.numQueries) == (2, 3, 3, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_of_a_gpu_are_searched_there():
    rows = np.random.default_rng(5).normal(size=(5_000, 16)).astype(np.float32)
    index = LatentIndex(exactness="float32", device="cuda").fit(rows)
    queries = torch.from_numpy(rows[:100]).cuda()
    assert index._stays_on_device(queries)
    distances, positions = index.kneighbors(queries, 3)
    exact = LatentIndex(device="cpu").fit(rows).kneighbors(rows[:100], 3)
    np.testing.assert_array_equal(positions, exact[1])
    np.testing.assert_allclose(distances, exact[0], atol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(
    not (torch.cuda.is_available() and _device_search.faiss_has_gpus()),
    reason="no CUDA device, or FAISS is not built for it",
)
def test_faiss_on_a_gpu_agrees_with_torch():
    rows = torch.randn(2_000, 8, device="cuda")
    resident = Resident(rows, (rows**2).sum(dim=1))
    faiss = smallest_on_device(rows[:50], resident, 5, use_faiss=True)
    ours = smallest_on_device(rows[:50], resident, 5)
    assert (faiss[1] == ours[1]).float().mean() > 0.99
    torch.testing.assert_close(faiss[0], ours[0], atol=1e-3, rtol=1e-3)
