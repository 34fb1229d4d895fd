"""The likelihood of tables of numbers, counts, flags and categories, with gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentsk._chunks import row_blocks
from latentsk._typing import Float64
from latentsk.vae._blocks import Block, Blocks
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood

# Share of the rows of a step that lose cells, and the largest share of these.
HIDDEN_ROWS, HIDDEN_CELLS = 0.25, 0.5


class MixedLikelihood:
    """A joint distribution of columns that are independent given the latents.

    Its log-density is the sum over blocks of columns. A cell that is NaN is missing,
    and left out: what remains is the density of the others, exactly. A block of a
    categorical column is missing as a whole.

    Parameters
    ----------
    blocks : sequence of (str, int)
        In the order of the columns: a name in `LIKELIHOODS`, and how many columns. A
        block of "categorical" is one variable, with a column for each of its levels;
        in other blocks every column is a variable.

    count_means, count_scales : array-like of shape (n_counts,) or None, default=None
        Of ``log(1 + count)`` in the columns of "poisson", from :func:`count_moments`:
        with them the encoder sees standardized values, and the decoder returns such
        ones. None: 0 and 1.

    tells_gaps : bool, default=False
        Whether the encoder is told which variables are missing, behind the row.

    Attributes
    ----------
    has_scale : bool
        Whether some block has a scale.
    is_real : ndarray of shape (n_columns,), dtype bool
        Which columns are to be standardized.

    Examples
    --------
    >>> mixed = MixedLikelihood([("gaussian", 1), ("bernoulli", 1), ("categorical", 2)])
    >>> rows = torch.tensor([[0.0, 1.0, 1.0, 0.0], [torch.nan, 1.0, 1.0, 0.0]])
    >>> mixed.by_feature(rows, torch.zeros(2, 4), torch.zeros(()))
    tensor([[-0.9189, -0.6931, -0.6931, -0.0000],
            [ 0.0000, -0.6931, -0.6931, -0.0000]])
    >>> mixed.log_density(rows, torch.zeros(2, 4), torch.zeros(()))
    tensor([-2.3052, -1.3863])
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        count_means: ArrayLike | None = None,
        count_scales: ArrayLike | None = None,
        tells_gaps: bool = False,
    ) -> None:
        self._blocks = Blocks(blocks)
        self.tells_gaps = tells_gaps
        self.n_variables = self._blocks.n_variables
        self._firsts = self._blocks.firsts
        kinds = {LIKELIHOODS[kind] for kind, _ in self._blocks.described}
        self.has_scale = any(likelihood.has_scale for likelihood in kinds)
        unchanged = LIKELIHOODS["gaussian"].link
        self._is_bounded = any(kind.link is not unchanged for kind in kinds)
        self.is_real = self._blocks.of_support("real")
        self._is_count = self._blocks.of_support("counts")
        # Of all columns, so that one addition and one product serve.
        shift, factor = np.zeros(len(self.is_real)), np.ones(len(self.is_real))
        shift[self._is_count] = 0.0 if count_means is None else count_means
        factor[self._is_count] = 1.0 if count_scales is None else count_scales
        self._shift, self._factor = torch.from_numpy(shift), torch.from_numpy(factor)

    def log_density(self, rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
        """Return the joint log-density of the observed cells.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_columns)
            NaN in missing cells.

        output : Tensor of shape (..., n_rows, n_columns)
            Of the decoder.

        log_scale : Tensor
            Logarithm of the scale: one, or one per column, of which only those of
            columns with a scale matter.

        Returns
        -------
        densities : Tensor of shape (..., n_rows)
            In nats.
        """
        return self.by_feature(rows, output, log_scale).sum(dim=-1)

    def by_feature(self, rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
        """Return what each column contributes to the log-density; 0 where missing."""
        is_missing, output = torch.isnan(rows), self._natural(output)
        # A value that every kind can have, so that gradients stay finite.
        filled = torch.where(is_missing, 0.0, rows)
        densities = self._blocks.apply(Likelihood.by_feature, filled, output, log_scale)
        return torch.where(is_missing, 0.0, densities)

    def mean(self, output: Tensor) -> Tensor:
        """Return means: rates of counts, probabilities of flags and levels."""
        return self._blocks.apply(
            lambda likelihood, values: likelihood.mean(values), self._natural(output)
        )

    def draw(
        self, output: Tensor, log_scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return random rows."""
        return self._blocks.apply(
            lambda likelihood, *values: likelihood.draw(*values, generator),
            self._natural(output),
            log_scale,
        )

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the encoder sees of rows: 0 where they have a gap.

        Numbers and one-hot columns as they are, flags as -1 and 1, counts as the
        standardized ``log(1 + count)``. If gaps are told, a 1 for each variable that is
        missing is behind them, and a 0 for each other.

        Returns
        -------
        seen : Tensor of shape (n_rows, n_columns or n_columns + n_variables)
        """
        values = self._blocks.apply(_seen, rows)
        values = (values - self._shift.to(rows)) / self._factor.to(rows)
        is_missing = torch.isnan(rows)
        values = torch.where(is_missing, 0.0, values)
        if not self.tells_gaps:
            return values
        told = is_missing.index_select(-1, self._firsts.to(rows.device))
        return torch.cat([values, told.to(values.dtype)], dim=-1)

    def hide(self, rows: Tensor, uniform: Tensor) -> Tensor:
        """Return rows, some of which lack more of their cells.

        The encoder learns from them to do without. A quarter of the rows lose a share
        of their variables that lies between none and a half.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_columns)

        uniform : Tensor of shape (n_rows, n_variables + 2)
            Random numbers in [0, 1).

        Examples
        --------
        >>> mixed = MixedLikelihood([("gaussian", 1), ("categorical", 2)])
        >>> uniform = torch.tensor([[0.2, 0.6, 0.1, 0.4], [0.9, 0.6, 0.1, 0.4]])
        >>> mixed.hide(torch.zeros(2, 3), uniform)
        tensor([[nan, 0., 0.],
                [0., 0., 0.]])
        """
        shares = torch.where(uniform[:, :1] < HIDDEN_ROWS, uniform[:, 1:2], 0.0)
        is_hidden = uniform[:, 2:] < HIDDEN_CELLS * shares
        return torch.where(
            is_hidden[:, self._blocks.variables.to(rows.device)], torch.nan, rows
        )

    def link(self, output: Tensor) -> Tensor:
        """Return the decoder's output, bounded where a kind asks for it."""
        if not self._is_bounded:
            return output
        return self._blocks.apply(_linked, output)

    def nearest(self, rows: Tensor) -> Tensor:
        """Return rows with values outside their support replaced by the nearest ones.

        Missing cells stay missing.
        """
        return self._blocks.apply(Likelihood.nearest, rows)

    def penalties(self, rows: Tensor) -> Tensor:
        """Return what values outside their support cost; 0 where they are missing."""
        return torch.where(torch.isnan(rows), 0.0, self._blocks.apply(_costs, rows))

    def log_units(self, rows: Tensor, log_scale: Float64) -> Tensor:
        """Return the logarithms of the units of the observed cells; 0 where missing.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_columns)

        log_scale : ndarray of shape (n_columns,)
            Logarithms of the scales of the standardization.

        Returns
        -------
        units : Tensor of shape (n_rows, n_columns), dtype float64
        """
        units = torch.as_tensor(log_scale).to(rows.device)
        return torch.where(torch.isnan(rows), torch.zeros_like(units), units)

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able description, the arguments of the constructor."""
        return {
            "blocks": [list(block) for block in self._blocks.described],
            "count_means": self._shift.numpy()[self._is_count].tolist(),
            "count_scales": self._factor.numpy()[self._is_count].tolist(),
            "tells_gaps": self.tells_gaps,
        }

    def _natural(self, output: Tensor) -> Tensor:
        """Return outputs with those of counts turned into logarithms of rates."""
        return output * self._factor.to(output) + self._shift.to(output)


def _seen(likelihood: Likelihood, rows: Tensor) -> Tensor:
    values = likelihood.inputs(rows)
    in_unit = likelihood.support == "unit interval"
    return 2.0 * values - 1.0 if in_unit else values


def _linked(likelihood: Likelihood, output: Tensor) -> Tensor:
    return likelihood.link(output)


def _costs(likelihood: Likelihood, rows: Tensor) -> Tensor:
    return torch.zeros_like(rows) + likelihood.penalties(rows)


def count_moments(X: NDArray[Any]) -> tuple[Float64, Float64]:
    """Return means and standard deviations of the logarithms of counts plus one.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_counts)
        Missing ones, NaN, are left out.

    Returns
    -------
    means, scales : ndarray of shape (n_counts,)
        The scale of a constant column is 1; a column without any value has mean 0.

    Examples
    --------
    >>> means, scales = count_moments(np.array([[0.0, 3.0], [np.nan, 3.0], [6.0, 3.0]]))
    >>> means.round(3), scales.round(3)
    (array([0.973, 1.386]), array([0.973, 1.   ]))
    """
    totals = np.zeros((3, X.shape[1]))
    for block in row_blocks(X):
        logs = np.log1p(np.asarray(block, dtype=np.float64))
        for power in range(3):
            totals[power] += np.where(np.isnan(logs), 0.0, logs**power).sum(axis=0)
    n, sums, squares = totals
    means = sums / np.maximum(n, 1.0)
    variances = squares / np.maximum(n, 1.0) - means**2
    varies = variances > 1e-12 * np.maximum(1.0, means**2)
    return means, np.sqrt(np.where(varies, variances, 1.0))


def likelihood_of(architecture: Mapping[str, Any]) -> Likelihood | MixedLikelihood:
    """Return the likelihood that a description of a network tells of.

    Parameters
    ----------
    architecture : mapping
        With "likelihood", a name in `LIKELIHOODS`, or what
        :meth:`MixedLikelihood.describe` returns.

    Examples
    --------
    >>> mixed = likelihood_of({"blocks": [["poisson", 2]]})
    >>> mixed.describe()["count_means"]
    [0.0, 0.0]
    >>> likelihood_of(mixed.describe()).n_variables
    2
    >>> likelihood_of({"likelihood": "laplace"}).has_scale
    True
    """
    if "blocks" not in architecture:
        return LIKELIHOODS[architecture["likelihood"]]
    names = ("count_means", "count_scales", "tells_gaps")
    more = {name: architecture[name] for name in names if name in architecture}
    return MixedLikelihood(architecture["blocks"], **more)


def n_gaps_told(architecture: Mapping[str, Any]) -> int:
    """Return how many numbers tell the encoder which variables of a row are missing.

    Examples
    --------
    >>> blocks = [["poisson", 2], ["categorical", 3]]
    >>> n_gaps_told({"blocks": blocks, "tells_gaps": True})
    3
    >>> n_gaps_told({"likelihood": "gaussian"})
    0
    """
    likelihood = likelihood_of(architecture)
    if isinstance(likelihood, MixedLikelihood) and likelihood.tells_gaps:
        return likelihood.n_variables
    return 0
