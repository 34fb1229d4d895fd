"""Families of approximate searches: `index_spec` names one, the tuner tries all."""

from __future__ import annotations

import re
from typing import NamedTuple

from latentsk.index._graph_spec import HNSW, SYMPHONY
from latentsk.index._graph_tuning import GraphFamily, graph_kind
from latentsk.index._ivf_tuning import IVFFamily
from latentsk.index._search import Family
from latentsk.index._spec import FLAT

# Those that follow changes, and graphs, which do not. By a word of their
# specifications; the first refuses those that name none.
GRAPHS = {kind: GraphFamily(kind) for kind in (HNSW, SYMPHONY)}
FAMILIES: dict[str, Family] = {"IVF": IVFFamily(), **GRAPHS}

_ROWS = re.compile(r"(.+),rows=(float32|float16|int8)")


class Pinned(NamedTuple):
    """What `index_spec` asks for.

    Attributes
    ----------
    family : Family
        The one that builds it.

    spec : str
        Of the search.

    min_rows : int
        Number of rows that it needs.

    dtype : {"float32", "float16", "int8"} or None
        In what form the rows are kept; None: as they are given.
    """

    family: Family
    spec: str
    min_rows: int
    dtype: str | None

    @property
    def is_static(self) -> bool:
        """Whether the search follows no change of its rows."""
        return isinstance(self.family, GraphFamily)


def changeable_families() -> list[Family]:
    """Return those whose searches follow changes."""
    families = FAMILIES.values()
    return [family for family in families if not isinstance(family, GraphFamily)]


def graph_family(width: int) -> GraphFamily:
    """Return the graphs that are tried over so many columns.

    Raises
    ------
    ImportError
        If their library is not there.
    """
    family = GRAPHS[graph_kind(width)]
    family.require()
    return family


def parse_index_spec(text: str | None) -> Pinned | None:
    """Read `index_spec`; None where every row is to be compared.

    Raises
    ------
    ValueError
        If it is of no family.

    Examples
    --------
    >>> pinned = parse_index_spec("IVF64,PQ8x4fs,nprobe=4,rerank=2,rows=int8")
    >>> pinned.spec, pinned.min_rows, pinned.dtype
    ('IVF64,PQ8x4fs,nprobe=4,rerank=2', 64, 'int8')
    """
    if text in (None, FLAT):
        return None
    match = _ROWS.fullmatch(text)
    spec, dtype = match.groups() if match else (text, None)
    known = [word for word in re.findall("[A-Za-z]+", spec) if word in FAMILIES]
    family = FAMILIES[[*known, *FAMILIES][0]]
    return Pinned(family, spec, family.min_rows(spec), dtype)
