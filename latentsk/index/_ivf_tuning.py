"""Which inverted lists are tried, and which of their parameters are the cheapest."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentsk._typing import Float32, Positions
from latentsk.index._codebook import (
    KMEANS_ITERATIONS,
    MAX_CODED_ROWS,
    MAX_CODES,
    Codebook,
    codebook_of,
    means_of,
    nearest_centers,
    train_centers,
    train_codebook,
)
from latentsk.index._cost import (
    codes_cost,
    coding_cost,
    components_cost,
    means_cost,
    search_cost,
)
from latentsk.index._exact import ExactSearch
from latentsk.index._graph import LARGEST_COORDINATE
from latentsk.index._ivf_search import IVFCodes, IVFSearch
from latentsk.index._measuring import coordinates_of
from latentsk.index._projection import (
    MAX_PCA_ROWS,
    Projection,
    largest_length,
    principal_axes,
)
from latentsk.index._recall import HeldOut, recall_bounds
from latentsk.index._recall_grid import (
    RecallGrid,
    neighbor_ranks,
    reached_recalls,
    scanned,
)
from latentsk.index._search import Search, Training, TuningTask
from latentsk.index._spec import IndexSpec

# Rows that train: some for each list, and enough for the codes.
ROWS_PER_LIST, MIN_TRAINING_ROWS = 64, 20_000
# Shares of the variance that the coded components explain, tried in this order.
VARIANCE_SHARES = (0.9, 0.97)
# Components that are coded where it is not known yet how many explain enough.
USUAL_CODES = 96
# Candidates per neighbour that are tried.
RERANKS = (
    *(1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0),
    *(5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0, 20.0),
    *(24.0, 28.0, 32.0, 40.0, 48.0),
)
# The same where whole rows are in the lists, which tell how near they are.
WHOLE_RERANKS = RERANKS[:5]
# Share of the best cost that other codes have to undercut, at their very best.
WORTHWHILE_SHARE = 0.7
# Lists are scanned until they hold so much of what the target lets be missed.
SCANNED_SHARE = 0.8


class IVFFamily:
    """Inverted lists, as the tuner tries them."""

    def min_rows(self, spec: str) -> int:
        """Return how many rows train lists and codes."""
        wanted = IndexSpec.parse(spec)
        return max(wanted.n_lists, wanted.n_codes or 1)

    def build(self, flat: Search, spec: str, training: Training) -> IVFSearch:
        """Return the search that a specification pins.

        Raises
        ------
        ValueError
            If the rows have not as many coordinates, or are too few, for it.
        """
        wanted, exact = IndexSpec.parse(spec), flat.exact
        coordinates, whole = _coordinates(exact, training, wanted.n_lists)
        coordinates = whole.rows(coordinates)
        check_fits(wanted, *coordinates.shape)
        if not np.isfinite(coordinates).all():
            raise ValueError(
                f"Vectors whose squares leave the range of float32 have no index_spec="
                f"{str(wanted)!r}. Scale them, or leave index_spec=None."
            )
        projection = whole
        if wanted.n_components is not None:
            n_components, seed = wanted.n_components, training.seed
            _, axes = principal_axes(coordinates, n_components, seed)
            projection = Projection(coordinates.mean(axis=0), axes, whole.length)
            coordinates = projection.reduced(coordinates)
        codebook = _trained(coordinates, wanted, training.seed)
        codes = IVFCodes(projection, codebook)
        members, embed, target = training.members, training.embed, training.target
        return IVFSearch(flat, wanted, codes, members, embed, target)

    def build_cost(self, n_rows: int, width: int) -> float:
        """Return the counted work of a plain build, without any choice."""
        n_lists, n_codes = n_lists_for(n_rows), min(width, USUAL_CODES)
        n_sample = min(n_rows, n_training_rows(n_lists))
        components = n_codes if n_codes < width else None
        spec = IndexSpec(n_lists, n_codes, 1, RERANKS[0], components)
        return (
            components_cost(min(n_sample, MAX_PCA_ROWS), width)
            + means_cost(n_sample, n_lists, n_codes, KMEANS_ITERATIONS)
            + codes_cost(min(n_sample, MAX_CODED_ROWS), n_codes)
            + coding_cost(n_rows, width, spec)
        )

    def variants(
        self, task: TuningTask, best: Callable[[], Search]
    ) -> Iterator[IVFVariant]:
        """Yield searches to try, whose parameters are not chosen yet."""
        training, budget, price = task.training, task.budget, _Price.of(task)
        n_lists = n_lists_for(price.n_rows)
        if not budget.affords(self.build_cost(price.n_rows, price.width)):
            return
        sample, whole = _coordinates(task.flat.exact, training, n_lists)
        if not np.abs(sample).max() < LARGEST_COORDINATE:
            return
        trainer = CodeTrainer(sample, n_lists, whole, training.seed)
        budget.spend(trainer.cost)
        have_failed = False
        for spec in trainer.specs():
            rival = best()
            is_beside_lists = isinstance(rival, IVFSearch)
            if have_failed and is_beside_lists and spec.n_codes:
                return  # whole rows serve where codes do not
            limit = rival.cost(price.k, price.n_rows)
            # More codes have to save much to be worth their time.
            worthwhile = limit * (WORTHWHILE_SHARE if is_beside_lists else 1.0)
            if price(spec) >= worthwhile:
                continue
            if not budget.affords(trainer.codes_cost(spec)):
                return
            budget.spend(trainer.codes_cost(spec))
            codes = trainer.codes(spec)
            ranks = neighbor_ranks(
                codes, task.flat.exact, training.embed, task.held_out
            )[:, : price.k]
            least = fewest_probes(ranks, task.target, n_lists)
            if least is None:
                return
            if price(replace(spec, n_probe=least)) >= worthwhile:
                continue
            wanted = self._largest(spec, ranks, task, price, limit)
            scan = len(ranks) * price(wanted)
            work = coding_cost(price.n_rows, price.width, spec) + scan
            if not budget.affords(work + scan):  # what is found is measured, too
                return
            budget.spend(work)
            members, embed = training.members, training.embed
            search = IVFSearch(task.flat, wanted, codes, members, embed, task.target)
            yield IVFVariant.of(search, task.held_out, price.k, ranks)
            have_failed |= spec.n_codes is not None and best() is rival

    def _largest(
        self,
        spec: IndexSpec,
        ranks: NDArray[np.intp],
        task: TuningTask,
        price: _Price,
        limit: float,
    ) -> IndexSpec:
        """Return the most lists and candidates that are tried, for less than a limit.

        The fewest lists that may do cost less with the fewest candidates.
        """
        least = fewest_probes(ranks, task.target, spec.n_lists)
        slack = SCANNED_SHARE * (1.0 - task.target)
        most = fewest_probes(ranks, task.target + slack, spec.n_lists) or spec.n_lists
        is_measured = spec.n_codes is None and task.training.embed is None
        reranks = WHOLE_RERANKS if is_measured else RERANKS

        def costs_less(n_probe: int | None, rerank: float) -> bool:
            wanted = replace(spec, n_probe=n_probe or 1, rerank=rerank)
            return price(wanted) < limit

        few = reranks[0]
        n_probes = [p for p in probes(spec.n_lists) if p <= most and costs_less(p, few)]
        enough = [rerank for rerank in reranks if costs_less(least, rerank)]
        return replace(spec, n_probe=max(n_probes), rerank=max(enough))


class _Price(NamedTuple):
    """What a specification costs for a query: see `search_cost`."""

    n_rows: int
    width: int
    k: int

    @classmethod
    def of(cls, task: TuningTask) -> _Price:
        width = task.flat.exact.space.n_features
        return cls(len(task.training.members), width, task.n_neighbors)

    def __call__(self, spec: IndexSpec) -> float:
        return search_cost(spec, self.width, self.n_rows, self.k)


class IVFVariant(NamedTuple):
    """A search whose numbers of lists and candidates are chosen by a grid of recalls.

    Attributes
    ----------
    search : IVFSearch

    grid : RecallGrid

    ranks : ndarray of shape (n_queries, k)
        Of the lists that hold the true neighbours.

    spec : IndexSpec
        With the largest numbers that the grid knows of.
    """

    search: IVFSearch
    grid: RecallGrid
    ranks: NDArray[np.intp]
    spec: IndexSpec

    @classmethod
    def of(
        cls, search: IVFSearch, held_out: HeldOut, k: int, ranks: NDArray[np.intp]
    ) -> IVFVariant:
        """Return the variant, with the search's own numbers as the largest."""
        return cls(search, scanned(search, held_out, k), ranks, search.spec)

    def cheapest_spec(self, target: float, limit: float) -> IndexSpec | None:
        """Return the cheapest search parameters that are expected to meet a target.

        None where there are none whose cost is below a limit.
        """
        width, n_rows = self.search.exact.space.n_features, self.search.lists.n_rows
        k, best = self.grid.k, None

        def cost(spec: IndexSpec) -> float:
            return search_cost(spec, width, n_rows, k)

        def is_enough(spec: IndexSpec) -> bool:
            recalls = self.grid.recalls(spec.n_probe, spec.n_candidates(k))
            return recall_bounds(recalls)[1] >= target

        for n_probe in probes(self.spec.n_probe):
            reranks = [rerank for rerank in RERANKS if rerank <= self.spec.rerank]
            specs = [self.search.codes.spec(n_probe, rerank) for rerank in reranks]
            cheaper = [spec for spec in specs if cost(spec) < limit]
            if not cheaper:
                break
            if recall_bounds(reached_recalls(self.ranks, n_probe))[1] < target:
                continue
            # The more candidates, the more is found.
            number = bisect_left(cheaper, True, key=is_enough)
            if number < len(cheaper):
                best = cheaper[number]
                limit = cost(best)
        return best


def fewest_probes(ranks: NDArray[np.intp], target: float, n_lists: int) -> int | None:
    """Return how few lists hold enough neighbours to meet a target of recall.

    Parameters
    ----------
    ranks : ndarray of shape (n_queries, k)
        Of the lists that hold the true neighbours.

    target : float
        What the lower confidence bound is to be, at least.

    n_lists : int

    Examples
    --------
    >>> fewest_probes(np.tile([0, 0, 2, 3], (400, 1)), 0.7, 8)
    3
    """
    numbers = probes(n_lists)

    def is_enough(n_probe: int) -> bool:
        return recall_bounds(reached_recalls(ranks, n_probe))[1] >= target

    place = bisect_left(numbers, True, key=is_enough)
    return numbers[place] if place < len(numbers) else None


def _trained(coordinates: Float32, spec: IndexSpec, seed: int) -> Codebook:
    if spec.n_codes is None:
        return Codebook(train_centers(coordinates, spec.n_lists, seed), None, False)
    return train_codebook(coordinates, spec.n_lists, residual=spec.residual, seed=seed)


def n_lists_for(n_rows: int) -> int:
    """Return the power of two nearest to the square root of the number of rows.

    Examples
    --------
    >>> n_lists_for(60_000), n_lists_for(1_000_000)
    (256, 1024)
    """
    return int(2 ** round(math.log2(math.sqrt(n_rows))))


def n_training_rows(n_lists: int) -> int:
    """Return how many rows train lists and codes, where there are enough."""
    return max(ROWS_PER_LIST * n_lists, MIN_TRAINING_ROWS)


def training_rows(
    members: Positions, n_lists: int, apart: Positions, rng: np.random.Generator
) -> Positions:
    """Draw the rows that train lists and codes, other than the held-out ones."""
    others = np.setdiff1d(members, apart, assume_unique=True)
    most = n_training_rows(n_lists)
    if len(others) <= most:
        return others
    return np.sort(rng.choice(others, most, replace=False))


def _coordinates(
    exact: ExactSearch, training: Training, n_lists: int
) -> tuple[Float32, Projection]:
    """Return rows that train, and the projection that keeps all their coordinates."""
    rng = np.random.default_rng(training.seed)
    trained = training_rows(training.members, n_lists, training.held_out, rng)
    length = largest_length(exact.fast) if exact.space.is_similarity else None
    sample = coordinates_of(exact, trained, training.embed)
    return sample, Projection(None, None, length)


class CodeTrainer:
    """Trains codes of several numbers of components, with the same lists.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features), float32
        Rows that train, rescaled.

    n_lists : int
        Number of lists.

    whole : Projection
        That keeps all coordinates.

    seed : int
        Of k-means.

    Attributes
    ----------
    cost : float
        Counted work of what all codes share.
    """

    def __init__(
        self, sample: Float32, n_lists: int, whole: Projection, seed: int
    ) -> None:
        self._coordinates, self._whole = whole.rows(sample), whole
        self._n_lists = n_lists
        n_rows, width = self._coordinates.shape
        shares, self._axes = principal_axes(self._coordinates, MAX_CODES, seed)
        self._numbers = components_to_try(shares, width)
        first = self._projected(self._numbers[0])
        self._centers = train_centers(first, n_lists, seed)
        self._lists = nearest_centers(self._centers, first, 1)[:, 0]
        self.cost = components_cost(min(n_rows, MAX_PCA_ROWS), width)
        iterations = KMEANS_ITERATIONS + 1
        self.cost += means_cost(n_rows, n_lists, self._numbers[0], iterations)

    def specs(self) -> list[IndexSpec]:
        """Return what is tried, with the least of search parameters.

        Codes of few components come first, then whole rows (for groups of unlike
        spreads, whose costs are known before), codes of more components, and last those
        of differences to a centre (for rows in tight groups).
        """
        width = self._coordinates.shape[1]
        plain = [
            IndexSpec(self._n_lists, n, 1, RERANKS[0], n if n < width else None)
            for n in self._numbers
        ]
        whole = IndexSpec(self._n_lists, None, 1, RERANKS[0])
        return [plain[0], whole, *plain[1:], replace(plain[-1], residual=True)]

    def codes_cost(self, spec: IndexSpec) -> float:
        """Return the counted work of training codes."""
        n_rows = min(len(self._coordinates), MAX_CODED_ROWS)
        return 0.0 if spec.n_codes is None else codes_cost(n_rows, spec.n_codes)

    def codes(self, spec: IndexSpec) -> IVFCodes:
        """Return codes as a specification says."""
        width = self._coordinates.shape[1]
        n_codes = width if spec.n_codes is None else spec.n_codes
        coded, centers = self._projected(n_codes), self._centers
        if n_codes != centers.shape[1]:
            centers = means_of(coded, self._lists, self._n_lists)
        codebook = Codebook(centers, None, False)
        if spec.n_codes is not None:
            lists = self._lists if spec.residual else None
            codebook = codebook_of(coded, centers, lists)
        return IVFCodes(self._projection(n_codes), codebook)

    def _projected(self, n_codes: int) -> Float32:
        return self._projection(n_codes).reduced(self._coordinates)

    def _projection(self, n_codes: int) -> Projection:
        if n_codes == self._coordinates.shape[1]:
            return self._whole
        kept = np.ascontiguousarray(self._axes[:, :n_codes])
        mean = self._coordinates.mean(axis=0)
        return Projection(mean, kept, self._whole.length)


def components_to_try(shares: NDArray[Any], width: int) -> list[int]:
    """Return numbers of components, ascending; the last is as many as can be coded.

    Parameters
    ----------
    shares : ndarray of shape (n_components,)
        Of the variance, descending.

    width : int
        Number of coordinates.

    Examples
    --------
    >>> components_to_try(np.array([0.5, 0.45, 0.03, 0.02]), 4)
    [4]
    >>> components_to_try(np.full(100, 0.01), 100)
    [100]
    >>> components_to_try(0.9 ** np.arange(64) * 0.1, 64)
    [24, 40, 64]
    """
    explained = np.cumsum(shares)
    wanted = [int(np.searchsorted(explained, share)) + 1 for share in VARIANCE_SHARES]
    # FAISS reads codes by the block.
    rounded = {8 * math.ceil(number / 8) for number in wanted}
    most = min(width, MAX_CODES)
    return [*sorted(n for n in rounded if n < 0.85 * most), most]


def probes(n_lists: int) -> list[int]:
    """Return numbers of lists to scan, each a quarter more than the one before, or one.

    Examples
    --------
    >>> probes(20)
    [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20]
    """
    numbers = [1]
    while numbers[-1] < n_lists:
        step = 2 ** max(0, numbers[-1].bit_length() - 3)
        numbers.append(min(numbers[-1] + step, n_lists))
    return numbers


def check_fits(spec: IndexSpec, n_rows: int, width: int) -> None:
    """Raise an error if rows cannot be indexed by a specification.

    Raises
    ------
    ValueError
    """
    if spec.n_lists > n_rows:
        raise ValueError(
            f"index_spec={str(spec)!r} has {spec.n_lists} lists, but there are "
            f"{n_rows} rows to train them."
        )
    if spec.n_codes is None:
        return
    reduced = spec.n_components is not None
    if spec.n_codes > width or (not reduced and spec.n_codes != width):
        raise ValueError(
            f"index_spec={str(spec)!r} codes {spec.n_codes} coordinates, but the "
            f"vectors have {width}."
        )
    if reduced and spec.n_codes > n_rows:
        raise ValueError(
            f"index_spec={str(spec)!r} has {spec.n_codes} principal components, "
            f"but there are {n_rows} rows to find them."
        )
