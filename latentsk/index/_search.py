"""What an index, and the tuner, ask of a search family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from latentsk._typing import Positions
from latentsk.index._exact import ExactSearch
from latentsk.index._metric import Rescaling
from latentsk.index._quantized import Vectors
from latentsk.index._query import Neighbors, Query
from latentsk.index._work import WorkBudget

# From the rows as they were given to latent vectors.
Embedding = Callable[[NDArray[Any]], NDArray[Any]]


class Search(Protocol):
    """A way to find neighbours: one class for a family.

    A search refers to the vectors of its index, and follows their changes. It may raise
    in the middle of one; then it is dropped, and another is made of its state.
    """

    @property
    def spec(self) -> object:
        """What it is made of; as a string, `index_spec_` of the index."""

    @property
    def exact(self) -> ExactSearch:
        """The search that compares every row, over the same vectors."""

    def neighbors(self, query: Query) -> Neighbors:
        """Return k rows near each query: see `ExactSearch.neighbors`."""

    def add(self, vectors: Vectors, positions: Positions) -> None:
        """Take over vectors with further rows, or with others that were removed."""

    def remove(self, positions: Positions) -> None:
        """Let rows be found no more."""

    def cost(self, n_neighbors: int, n_rows: int) -> float:
        """Return the counted work of a query among so many rows: see `_cost`."""

    def n_bytes(self, n_rows: int) -> int:
        """Return how many bytes it holds for so many rows, besides their vectors.

        A `memory_budget` reserves `lists_bytes` before a family is chosen.
        """

    def to_state(self) -> SearchState:
        """Return what the search is made of besides the vectors."""


class SearchState(Protocol):
    """What a search is made again of, with the vectors; files and pickles hold it."""

    @property
    def spec(self) -> str:
        """What the search is made of, as a string: `index_spec_` of the index."""

    @property
    def n_drifted(self) -> int:
        """Number of rows that came where none lay when the search was built."""

    def restore(
        self,
        flat_over: Callable[[Rescaling | None], Search],
        members: Positions,
        embed: Embedding | None,
    ) -> Search:
        """Return the search; `flat_over` makes an exact one over the same vectors."""

    def check_fits(self, shape: tuple[int, int], metric: str, embedded: bool) -> None:
        """Refuse vectors that the state does not belong to.

        Parameters
        ----------
        shape : tuple
            Of the vectors.

        metric : str

        embedded : bool
            Whether the search embeds the vectors, of another width then.

        Raises
        ------
        FormatError, ValueError
        """


class Training(NamedTuple):
    """What a search is built of.

    Attributes
    ----------
    members : ndarray of shape (n_members,)
        Positions of the rows that are searched, ascending.

    held_out : ndarray of shape (n_held_out,)
        Positions of those that take no part in training.

    seed : int
        Of everything that is drawn.

    embed : callable or None
        From the rows to the vectors that are coded; None: the rows themselves.

    target : float or None, default=None
        Recall that is promised.
    """

    members: Positions
    held_out: Positions
    seed: int
    embed: Embedding | None
    target: float | None = None


class TuningTask(NamedTuple):
    """What a search is looked for by.

    Attributes
    ----------
    flat : Search
        Over all rows, exact.

    training : Training
        The rows that searches are built of.

    held_out : HeldOut
        Queries whose true neighbours are known.

    target : float
        What the lower confidence bound of the recall is to be, at least.

    n_neighbors : int
        Number of neighbours among which recall is counted.

    budget : WorkBudget
        Counts the work, and limits it.

    sample : GraphSample or None, default=None
        Tells what fresh queries find in a graph.
    """

    flat: Search
    training: Training
    held_out: Any
    target: float
    n_neighbors: int
    budget: WorkBudget
    sample: Any = None


class Family(Protocol):
    """How searches of a family are made, and how the tuner tries them.

    Everywhere `flat` is an exact search over all rows.
    """

    def min_rows(self, spec: str) -> int:
        """Return how many rows a specification needs.

        Raises
        ------
        ValueError
            If it is none of this family.
        """

    def build(self, flat: Search, spec: str, training: Training) -> Search:
        """Return the search that `index_spec` pins."""

    def build_cost(self, n_rows: int, width: int) -> float:
        """Return the counted work of a plain build, without any choice: see `_cost`."""

    def variants(self, task: TuningTask, best: Callable[[], Search]) -> Iterator[Any]:
        """Yield variants (see `Variant`); `best` tells the best search so far.

        What they take is spent of the task's budget, and where that does not suffice,
        none is yielded.
        """


class Variant(Protocol):
    """A search to try, whose parameters are not chosen yet."""

    search: Any

    def cheapest_spec(self, target: float, limit: float) -> Any:
        """Return the cheapest `spec` that is expected to meet a target of recall.

        None where there is none below a limit of the cost.
        """
