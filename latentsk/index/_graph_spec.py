"""What a graph of neighbours is made of, in words that pin it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from latentsk.index._spec import FEW_NEIGHBORS

# Whose graphs there are: FAISS's, and that of rabitqlib.
HNSW, SYMPHONY = "HNSW", "SymphonyQG"
# SymphonyQG compares a query with so many neighbours of a row at once.
SYMPHONY_DEGREE = 32
MAX_DEGREE, MAX_EFFORT = 512, 65_536

_PATTERN = re.compile(r"(?P<kind>HNSW|SymphonyQG)(?P<degree>\d+),ef=(?P<effort>\d+)")
_EXAMPLE = "SymphonyQG32,ef=64"


@dataclass(frozen=True)
class GraphSpec:
    """Structure and search parameter of a graph.

    Parameters
    ----------
    kind : {"HNSW", "SymphonyQG"}
        Whose graph.

    degree : int
        Neighbours of a row in the graph.

    effort : int
        Rows from which a search goes on, for ten neighbours (or fewer).

    Examples
    --------
    >>> spec = GraphSpec.parse("SymphonyQG32,ef=64")
    >>> spec.degree, spec.effort_for(10), spec.effort_for(25)
    (32, 64, 160)
    >>> str(spec)
    'SymphonyQG32,ef=64'
    """

    kind: str
    degree: int
    effort: int

    @classmethod
    def parse(cls, text: str) -> GraphSpec:
        """Read a specification.

        Raises
        ------
        ValueError
            If the text is not one.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(
                f"index_spec must be like {_EXAMPLE!r} (see index_spec_ of a fitted "
                f"index), got {text!r}."
            )
        spec = cls(match["kind"], int(match["degree"]), int(match["effort"]))
        if not 2 <= spec.degree <= MAX_DEGREE or not 1 <= spec.effort <= MAX_EFFORT:
            raise ValueError(
                f"index_spec={text!r}: a row has 2 to {MAX_DEGREE} neighbours, and ef "
                f"is from 1 to {MAX_EFFORT}."
            )
        if spec.kind == SYMPHONY and spec.degree % SYMPHONY_DEGREE:
            raise ValueError(
                f"index_spec={text!r}: the number of neighbours of {SYMPHONY} must be "
                f"a multiple of {SYMPHONY_DEGREE}, got {spec.degree}."
            )
        return spec

    def __str__(self) -> str:
        return f"{self.kind}{self.degree},ef={self.effort}"

    def effort_for(self, n_neighbors: int) -> int:
        """Return the rows from which a search for so many neighbours goes on."""
        wanted = max(n_neighbors, FEW_NEIGHBORS) / FEW_NEIGHBORS
        return max(n_neighbors, math.ceil(self.effort * wanted))
