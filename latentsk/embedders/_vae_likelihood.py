"""Which likelihood a VAEEmbedder's parameters and rows mean, for its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsk._warnings import warn
from latentsk.training._support import require_support
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._mixed import MixedLikelihood, count_moments
from latentsk.vae._table import TableLayout, is_binary


def describe_likelihood(
    embedder: Any, X: NDArray[Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a JSON-able description of the likelihood, after checking the rows.

    Parameters
    ----------
    embedder : VAEEmbedder
        With its parameters.

    X : ndarray of shape (n_rows, n_modelled + n_conditions)
        Training rows, coded where they were a table.

    known : mapping
        That of a training that continues; else empty.

    Returns
    -------
    description : dict
        With "likelihood", or "blocks" of the columns; and "standardize".

    Raises
    ------
    ValueError
        If rows have values that the likelihood has not.

    Warns
    -----
    UserWarning
        If a Bernoulli distribution is given other values than zeros and ones.
    """
    table, standardize = embedder._table, bool(embedder.standardize)
    if table is not None and table.is_mixed:
        # A custom encoder takes rows as wide as they are.
        tells_gaps = embedder.encoder is None and embedder.decoder is None
        described = _describe_blocks(table, X, tells_gaps, known)
        return {**described, "standardize": standardize}
    names = embedder._names_of_features
    if table is not None:
        X = X[:, : table.n_modelled]
        names = [table.columns[i].label for i in table.modelled]
    is_drawn = getattr(embedder, "dynamic_binarization", False)
    name = "bernoulli" if is_drawn else _chosen(embedder, X, known)
    support = LIKELIHOODS[name].support
    if support != "real":
        require_support(X, support, f"likelihood={name!r}", names)
    if name == "bernoulli" and not is_drawn and not is_binary(X):
        _warn_of_shares("X has")
    return {"likelihood": name, "standardize": standardize and support == "real"}


def has_one_unit(embedder: Any, described: Mapping[str, Any]) -> bool:
    """Tell whether all features have the same unit, as pixels have.

    Parameters
    ----------
    embedder : NeuralEmbedder

    described : dict
        What is known of its architecture, with "standardize".
    """
    shapes = embedder._layout, embedder.input_shape, described.get("input_shape")
    is_image = any(shape is not None for shape in shapes)
    return is_image or not described["standardize"]


def describe_scale(likelihood_scale: float | str, one_unit: bool) -> float | str:
    """Return which scale is learned, or the one that is fixed.

    Parameters
    ----------
    likelihood_scale : {"auto", "feature", "shared"} or float

    one_unit : bool
        Whether all features have the same unit, as pixels have.

    Examples
    --------
    >>> describe_scale("auto", False), describe_scale("auto", True)
    ('feature', 'shared')
    """
    if not isinstance(likelihood_scale, str):
        return float(likelihood_scale)
    if likelihood_scale != "auto":
        return likelihood_scale
    return "shared" if one_unit else "feature"


def _chosen(embedder: Any, X: NDArray[Any], known: Mapping[str, Any]) -> str:
    """Return the likelihood that is named, or the one that the data allow."""
    if embedder.likelihood != "auto":
        return str(embedder.likelihood)
    if "likelihood" in known:
        return str(known["likelihood"])
    return "bernoulli" if is_binary(X) else "gaussian"


def _describe_blocks(
    table: TableLayout, X: NDArray[Any], tells_gaps: bool, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the blocks of a table, after checking the cells of each column."""
    counts = []
    for position in table.modelled:
        column, places = table.columns[position], table.places(position)
        assert column.likelihood is not None, "every modelled column has one"
        cells, support = X[:, places], LIKELIHOODS[column.likelihood].support
        setting, names = f"likelihood={column.likelihood!r}", [column.label]
        if column.levels is None:
            require_support(cells, support, setting, names)
        else:
            _require_known(cells, column.label)
        if column.likelihood == "bernoulli" and not is_binary(cells):
            _warn_of_shares(f"column {column.label!r} has")
        if support == "counts":
            counts.append(cells)
    means, scales = count_moments(np.hstack(counts)) if counts else (None, None)
    described = MixedLikelihood(table.blocks, means, scales, tells_gaps).describe()
    # What the encoder sees of counts stays the same in a training that continues.
    stays = ("count_means", "count_scales")
    return {**described, **{name: known[name] for name in stays if name in known}}


def _require_known(cells: NDArray[Any], label: str) -> None:
    """Refuse to train on categories that have no place in the network."""
    for row in np.flatnonzero(cells.sum(axis=1) == 0.0)[:1]:
        raise ValueError(
            f"Column {label!r} has a category in row {row} that the first rows did not "
            "have, and a training that continues has no place for it. Before the first "
            "rows, declare all categories: X[column] = pd.Categorical(X[column], "
            "categories=[...])."
        )


def _warn_of_shares(what: str) -> None:
    warn(
        f"likelihood='bernoulli' is meant for zeros and ones, but {what} other values, "
        "of which the score is no log-probability. Use likelihood="
        "'continuous_bernoulli', or dynamic_binarization=True."
    )
