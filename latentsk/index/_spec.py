"""What an approximate index is made of, in words that pin it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from numpy import format_float_positional

# What an index that compares every row is called.
FLAT = "Flat"
# Neighbours from which the number of candidates grows with the number asked for.
FEW_NEIGHBORS = 10

_PATTERN = re.compile(
    r"(?:PCA(?P<n_components>\d+),)?"
    r"IVF(?P<n_lists>\d+),"
    r"(?:Flat|PQ(?P<n_codes>\d+)x4fs(?P<residual>r?)),"
    r"nprobe=(?P<n_probe>\d+),"
    r"rerank=(?P<rerank>\d+(?:\.\d+)?)"
)
_EXAMPLE = "PCA96,IVF256,PQ96x4fs,nprobe=16,rerank=3"


@dataclass(frozen=True)
class IndexSpec:
    """Structure and search parameters of an approximate index.

    Rows lie in *lists* around centres (an inverted file, IVF), as a code of four bits
    for each coordinate (a product quantizer, PQ, in FAISS's fast-scan layout), or whole
    (Flat), where codes of the whole space cannot tell the rows of a dense part of it
    apart. A search scans the lists nearest to the query and measures the best
    candidates again on the rows themselves.

    Parameters
    ----------
    n_lists : int
        Number of lists.

    n_codes : int or None
        Coordinates that are coded; None: lists hold whole rows.

    n_probe : int
        Lists scanned for a query.

    rerank : float
        Candidates measured again, per neighbour asked for (of ten, if fewer are).

    n_components : int or None, default=None
        Principal components that are coded; None: the coordinates as they are.

    residual : bool, default=False
        Whether codes are of the difference to the list's centre: for rows in clusters
        much smaller than the whole.

    Examples
    --------
    >>> spec = IndexSpec.parse("PCA96,IVF256,PQ96x4fs,nprobe=16,rerank=3")
    >>> spec.n_lists, spec.n_candidates(10), spec.n_candidates(100)
    (256, 30, 300)
    >>> str(spec)
    'PCA96,IVF256,PQ96x4fs,nprobe=16,rerank=3'
    """

    n_lists: int
    n_codes: int | None
    n_probe: int
    rerank: float
    n_components: int | None = None
    residual: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_counted = value is not None and field.name != "residual"
            if is_counted and not value > 0:
                raise ValueError(f"index_spec: {field.name} must be positive.")
        if not 1 <= self.rerank < math.inf:
            raise ValueError(
                "index_spec: rerank must be at least 1, as many candidates as "
                f"neighbours, got {self.rerank:g}."
            )
        if self.n_probe > self.n_lists:
            raise ValueError(
                f"index_spec: nprobe={self.n_probe} is more than there are lists "
                f"({self.n_lists})."
            )
        if self.n_components not in (None, self.n_codes):
            raise ValueError(
                f"index_spec: PCA{self.n_components} and PQ{self.n_codes} must have "
                "the same number."
            )

    @classmethod
    def parse(cls, text: str) -> IndexSpec:
        """Read a specification.

        Raises
        ------
        ValueError
            If the text is not one.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or (match["n_components"] and match["n_codes"] is None):
            raise ValueError(
                f"index_spec must be like {_EXAMPLE!r} (see index_spec_ of a fitted "
                f"index), got {text!r}."
            )
        found = match.groupdict()
        components, codes = found["n_components"], found["n_codes"]
        return cls(
            n_lists=int(found["n_lists"]),
            n_codes=None if codes is None else int(codes),
            n_probe=int(found["n_probe"]),
            rerank=float(found["rerank"]),
            n_components=None if components is None else int(components),
            residual=bool(found["residual"]),
        )

    def __str__(self) -> str:
        reduced = f"PCA{self.n_components}," if self.n_components else ""
        # Neither an exponent nor fewer digits than parse the same number.
        rerank = format_float_positional(self.rerank, trim="-")
        codes = "Flat"
        if self.n_codes is not None:
            codes = f"PQ{self.n_codes}x4fs{'r' if self.residual else ''}"
        return (
            f"{reduced}IVF{self.n_lists},{codes},nprobe={self.n_probe},rerank={rerank}"
        )

    def n_candidates(self, n_neighbors: int) -> int:
        """Return how many candidates are measured again."""
        return math.ceil(self.rerank * max(n_neighbors, FEW_NEIGHBORS))
