"""Families of approximate searches: `index_spec` names one, the tuner tries all."""

from __future__ import annotations

import re
from typing import NamedTuple

from latentsk.index._ivf_tuning import IVFFamily
from latentsk.index._search import Family
from latentsk.index._spec import FLAT

# By a word of their specifications; the first refuses those that name none.
FAMILIES: dict[str, Family] = {"IVF": IVFFamily()}

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
