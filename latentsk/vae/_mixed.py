"""The likelihood of tables of numbers, counts, flags and categories, with gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentsk._chunks import row_blocks
from latentsk._typing import Float64
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood

Block = tuple[str, int]
# Share of the rows of a step that lose cells, and the largest share of these.
HIDDEN_ROWS, HIDDEN_CELLS = 0.25, 0.5
_UNCHANGED = LIKELIHOODS["gaussian"].link


class _Part(NamedTuple):
    """Consecutive columns with one kind of likelihood."""

    likelihood: Likelihood
    columns: slice

    def scale(self, log_scale: Tensor) -> Tensor:
        return log_scale if log_scale.numel() == 1 else log_scale[..., self.columns]


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
        self.blocks = [(str(kind), int(width)) for kind, width in blocks]
        self.tells_gaps = tells_gaps
        self._parts = _parts(self.blocks)
        self._variables = _variables(self.blocks)
        self.has_scale = any(part.likelihood.has_scale for part in self._parts)
        self.is_real, self._is_count = self._has("real"), self._has("counts")
        # Of all columns, so that one addition and one product serve.
        shift, factor = np.zeros(len(self.is_real)), np.ones(len(self.is_real))
        shift[self._is_count] = 0.0 if count_means is None else count_means
        factor[self._is_count] = 1.0 if count_scales is None else count_scales
        self._shift, self._factor = torch.from_numpy(shift), torch.from_numpy(factor)

    @property
    def n_variables(self) -> int:
        """Number of variables: a categorical one has several columns."""
        return int(self._variables[-1]) + 1

    def _has(self, support: str) -> NDArray[np.bool_]:
        """Tell which columns have a support."""
        supports = [LIKELIHOODS[kind].support for kind, _ in self.blocks]
        widths = [width for _, width in self.blocks]
        return np.repeat(np.array(supports) == support, widths)

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
        densities = torch.cat(
            [
                part.likelihood.by_feature(
                    filled[..., part.columns],
                    output[..., part.columns],
                    part.scale(log_scale),
                )
                for part in self._parts
            ],
            dim=-1,
        )
        return torch.where(is_missing, 0.0, densities)

    def mean(self, output: Tensor) -> Tensor:
        """Return means: rates of counts, probabilities of flags and levels."""
        natural = self._natural(output)
        return self._joined(lambda part, values: part.likelihood.mean(values), natural)

    def draw(
        self, output: Tensor, log_scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return random rows."""

        def drawn(part: _Part, values: Tensor) -> Tensor:
            return part.likelihood.draw(values, part.scale(log_scale), generator)

        return self._joined(drawn, self._natural(output))

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the encoder sees of rows: 0 where they have a gap.

        Numbers and one-hot columns as they are, flags as -1 and 1, counts as the
        standardized ``log(1 + count)``. If gaps are told, a 1 for each variable that is
        missing is behind them, and a 0 for each other.

        Returns
        -------
        seen : Tensor of shape (n_rows, n_columns or n_columns + n_variables)
        """

        def seen(part: _Part, values: Tensor) -> Tensor:
            values = part.likelihood.inputs(values)
            in_unit = part.likelihood.support == "unit interval"
            return 2.0 * values - 1.0 if in_unit else values

        values = self._joined(seen, rows)
        values = (values - self._shift.to(rows)) / self._factor.to(rows)
        is_missing = torch.isnan(rows)
        values = torch.where(is_missing, 0.0, values)
        if not self.tells_gaps:
            return values
        firsts = self._variables.diff(prepend=self._variables.new_tensor([-1])) > 0
        told = is_missing[..., firsts.to(rows.device)]
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
            is_hidden[:, self._variables.to(rows.device)], torch.nan, rows
        )

    def link(self, output: Tensor) -> Tensor:
        """Return the decoder's output, bounded where a kind asks for it."""
        if all(part.likelihood.link is _UNCHANGED for part in self._parts):
            return output
        return self._joined(lambda part, values: part.likelihood.link(values), output)

    def nearest(self, rows: Tensor) -> Tensor:
        """Return rows with values outside their support replaced by the nearest ones.

        Missing cells stay missing.
        """
        return self._joined(lambda part, cells: part.likelihood.nearest(cells), rows)

    def penalties(self, rows: Tensor) -> Tensor:
        """Return what values outside their support cost; 0 where they are missing."""

        def cost(part: _Part, cells: Tensor) -> Tensor:
            return torch.zeros_like(cells) + part.likelihood.penalties(cells)

        return torch.where(torch.isnan(rows), 0.0, self._joined(cost, rows))

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
            "blocks": [list(block) for block in self.blocks],
            "count_means": self._shift.numpy()[self._is_count].tolist(),
            "count_scales": self._factor.numpy()[self._is_count].tolist(),
            "tells_gaps": self.tells_gaps,
        }

    def _natural(self, output: Tensor) -> Tensor:
        """Return outputs with those of counts turned into logarithms of rates."""
        return output * self._factor.to(output) + self._shift.to(output)

    def _joined(
        self, function: Callable[[_Part, Tensor], Tensor], values: Tensor
    ) -> Tensor:
        """Apply a function of a part and its columns, and join the results."""
        results = (function(part, values[..., part.columns]) for part in self._parts)
        return torch.cat(list(results), dim=-1)


def _parts(blocks: Sequence[Block]) -> list[_Part]:
    """Return blocks with their columns; neighbours of one kind are one part."""
    parts: list[_Part] = []
    start = 0
    for kind, width in blocks:
        likelihood = LIKELIHOODS[kind]
        # The columns of a categorical one depend on each other.
        same = bool(parts) and parts[-1].likelihood is likelihood
        joins = same and likelihood.cells is None
        first = parts.pop().columns.start if joins else start
        start += width
        parts.append(_Part(likelihood, slice(first, start)))
    return parts


def _variables(blocks: Sequence[Block]) -> Tensor:
    """Return the number of the variable that each column belongs to."""
    widths = []
    for kind, width in blocks:
        is_one = LIKELIHOODS[kind].cells is not None
        widths += [width] if is_one else [1] * width
    return torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))


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
    >>> likelihood_of(mixed.describe()).blocks
    [('poisson', 2)]
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
