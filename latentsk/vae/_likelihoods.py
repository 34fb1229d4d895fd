"""Likelihoods of rows given a decoder's output: log-densities with every constant.

All functions are sums over features, one value per row, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from latentsk._typing import Float64
from latentsk.training._support import SUPPORTS
from latentsk.vae._discrete import (
    categorical,
    categorical_cells,
    categorical_mean,
    draw_categorical,
    draw_poisson,
    poisson,
    poisson_mean,
)

LOG_TWO_PI = math.log(2.0 * math.pi)
LOG_TWO = math.log(2.0)
# Degrees of freedom of Student's t: tails much heavier than a Gaussian's, and still a
# finite variance and kurtosis just out of reach.
DEGREES_OF_FREEDOM = 4.0
# |logit| below which the normalizer of the continuous Bernoulli is a series.
_SMALL_LOGIT = 0.1
# Largest |logit| that a decoder returns for it, about where probabilities end in
# float32, as in torch.distributions; up to half of that nothing changes.
MAX_LOGIT = 16.0


def gaussian(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of independent normal features.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Values, and their means.

    log_scale : Tensor
        Logarithm of the standard deviation: one, or one per feature.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> gaussian(one, one, torch.zeros(()))
    tensor([-0.9189])
    """
    if log_scale.numel() == 1:  # which spares a pass over the features
        squares = F.mse_loss(output, rows.expand_as(output), reduction="none")
        squares = squares.sum(dim=-1)
        constant = -rows.shape[-1] * (log_scale + 0.5 * LOG_TWO_PI)
        return torch.addcmul(constant, squares, torch.exp(-2.0 * log_scale), value=-0.5)
    squares = ((rows - output) * torch.exp(-log_scale)).square().sum(dim=-1)
    return -0.5 * squares - (log_scale + 0.5 * LOG_TWO_PI).sum(dim=-1)


def laplace(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of independent Laplace features.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Values, and their medians.

    log_scale : Tensor
        Logarithm of the mean absolute deviation: one, or one per feature.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> laplace(one, one, torch.zeros(()))
    tensor([-0.6931])
    """
    deviations = torch.abs(rows - output) * torch.exp(-log_scale)
    return (-deviations - LOG_TWO - log_scale).sum(dim=-1)


def student_t(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of independent Student's t features, 4 degrees of freedom.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Values, and their means.

    log_scale : Tensor
        Logarithm of the scale: one, or one per feature.

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> student_t(one, one, torch.zeros(()))
    tensor([-0.9808])
    """
    degrees = DEGREES_OF_FREEDOM
    constant = (
        math.lgamma(0.5 * (degrees + 1.0))
        - math.lgamma(0.5 * degrees)
        - 0.5 * math.log(degrees * math.pi)
    )
    squares = ((rows - output) * torch.exp(-log_scale)).square()
    tails = 0.5 * (degrees + 1.0) * torch.log1p(squares / degrees)
    return (constant - log_scale - tails).sum(dim=-1)


def bernoulli(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-probability of independent binary features, from logits.

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Values, 0 or 1, and logits.

    log_scale : Tensor
        Not used.

    Examples
    --------
    >>> bernoulli(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2), torch.zeros(()))
    tensor([-1.3863])
    """
    return (rows * output - F.softplus(output)).sum(dim=-1)


def continuous_bernoulli(rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of independent features in [0, 1], from logits.

    The continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019): the Bernoulli's formula,
    with the constant that makes it a density on [0, 1].

    Parameters
    ----------
    rows, output : Tensor of shape (..., n_features)
        Values in [0, 1], and logits.

    log_scale : Tensor
        Not used.

    Examples
    --------
    >>> half = torch.full((1, 1), 0.5)
    >>> continuous_bernoulli(half, torch.zeros(1, 1), torch.zeros(())).abs() < 1e-6
    tensor([True])
    """
    constants = _log_normalizer(output).sum(dim=-1)
    return bernoulli(rows, output, log_scale) + constants


def _log_normalizer(logits: Tensor) -> Tensor:
    """Return ``log(l / tanh(l / 2))``, whose limit at 0 is log 2."""
    small = torch.abs(logits) < _SMALL_LOGIT
    safe = torch.where(small, torch.ones_like(logits), logits)
    exact = torch.log(safe / torch.tanh(0.5 * safe))
    squares = torch.where(small, logits, torch.zeros_like(logits)).square()
    series = LOG_TWO + squares / 12.0 - 7.0 * squares.square() / 1440.0
    return torch.where(small, series, exact)


def _identity(output: Tensor) -> Tensor:
    return output


def _continuous_bernoulli_mean(logits: Tensor) -> Tensor:
    """Return ``p / (2 p - 1) + 1 / (2 artanh(1 - 2 p))``, in terms of the logit."""
    small = torch.abs(logits) < _SMALL_LOGIT
    safe = torch.where(small, torch.ones_like(logits), logits)
    exact = torch.sigmoid(safe) / torch.tanh(0.5 * safe) - 1.0 / safe
    series = 0.5 + logits / 12.0 - logits**3 / 720.0
    return torch.where(small, series, exact)


def bounded_logits(output: Tensor) -> Tensor:
    """Bound logits smoothly to between -16 and 16; up to 8 nothing changes.

    The density of the continuous Bernoulli has no bound: of a pixel that is always 0,
    it grows with the logit for ever. Such pixels would outdo all others, and the
    divergence from the prior.

    Examples
    --------
    >>> bounded_logits(torch.tensor([-1e6, -7.5, 0.0, 9.0, 1e6]))
    tensor([-16.0000,  -7.5000,   0.0000,   8.9948,  16.0000])
    """
    half = 0.5 * MAX_LOGIT
    within = output.clamp(-half, half)
    return within + half * torch.tanh((output - within) / half)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return numbers in (0, 1), drawn on the generator's device."""
    drawn = torch.rand(
        like.shape, generator=generator, device=generator.device, dtype=torch.float64
    )
    return drawn.clamp_(min=2.0**-54).to(like.device)


def _draw_gaussian(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    normal = torch.special.ndtri(_uniform(output, generator))
    return output + torch.exp(log_scale) * normal.to(output.dtype)


def _draw_laplace(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    uniform = _uniform(output, generator)
    sign = torch.sign(uniform - 0.5)
    deviation = -sign * torch.log(2.0 * torch.minimum(uniform, 1.0 - uniform))
    return output + torch.exp(log_scale) * deviation.to(output.dtype)


def _draw_student_t(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    normal = torch.special.ndtri(_uniform(output, generator))
    # Two exponential variables make a chi-squared one of four degrees of freedom.
    product = _uniform(output, generator) * _uniform(output, generator)
    deviation = normal / torch.sqrt(-2.0 * torch.log(product) / DEGREES_OF_FREEDOM)
    return output + torch.exp(log_scale) * deviation.to(output.dtype)


def _draw_bernoulli(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    return (_uniform(output, generator) < torch.sigmoid(output)).to(output.dtype)


def _draw_continuous_bernoulli(
    output: Tensor, log_scale: Tensor, generator: torch.Generator
) -> Tensor:
    uniform, logits = _uniform(output, generator), output.double()
    # The quantile function, mirrored for positive logits, where it would overflow.
    mirrored = torch.where(logits > 0, 1.0 - uniform, uniform)
    slope = -torch.abs(logits)
    small = slope > -1e-6
    safe = torch.where(small, -torch.ones_like(slope), slope)
    drawn = torch.log1p(mirrored * torch.expm1(safe)) / safe
    drawn = torch.where(small, mirrored, drawn)
    return torch.where(logits > 0, 1.0 - drawn, drawn).to(output.dtype)


class Likelihood(NamedTuple):
    """A distribution of rows given a decoder's output.

    Attributes
    ----------
    log_density : callable
        ``log_density(rows, output, log_scale)``, one value per row, in nats.
    mean : callable
        From the output to the mean.
    draw : callable
        ``draw(output, log_scale, generator)``, random rows.
    has_scale : bool, default=False
        Whether there is a scale, which can be fixed or learned.
    support : {"real", "unit interval", "counts", "one-hot"}, default="real"
        The values that a row can have. Real ones are standardized; whatever lies
        outside of the others is refused by a fit, and scored very low.
    link : callable, default=identity
        From what the decoder returns to the output, for values that are bounded.
    cells : callable or None, default=None
        ``cells(rows, output, log_scale)``, what each column contributes to the
        log-density. None: that of the column alone.

    Examples
    --------
    >>> likelihood = LIKELIHOODS["bernoulli"]
    >>> logits, log_scale = torch.zeros(1, 2), torch.zeros(())
    >>> likelihood.by_feature(torch.tensor([[0.0, 1.0]]), logits, log_scale)
    tensor([[-0.6931, -0.6931]])
    >>> flags = torch.tensor([[0.0, 2.0]])
    >>> likelihood.nearest(flags), likelihood.penalties(flags)
    (tensor([[0., 1.]]), tensor([[      0., 2000000.]]))
    """

    log_density: Callable[[Tensor, Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    draw: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    has_scale: bool = False
    support: str = "real"
    link: Callable[[Tensor], Tensor] = _identity
    cells: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None

    def by_feature(self, rows: Tensor, output: Tensor, log_scale: Tensor) -> Tensor:
        """Return what each column contributes to the log-density.

        Returns
        -------
        densities : Tensor of shape (..., n_features)
        """
        if self.cells is not None:
            return self.cells(rows, output, log_scale)
        # A last axis of length one, so that there is nothing to sum.
        return self.log_density(
            rows[..., None], output[..., None], log_scale[..., None]
        )

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the encoder sees of rows, brought into the support."""
        return SUPPORTS[self.support].inputs(rows)

    def nearest(self, rows: Tensor) -> Tensor:
        """Return rows with values outside the support replaced by the nearest ones."""
        return SUPPORTS[self.support].nearest(rows)

    def penalties(self, rows: Tensor) -> Tensor:
        """Return what values outside the support cost; a single 0 where none can be.

        Returns
        -------
        penalties : Tensor of shape (..., n_features) or (1,)
        """
        if self.support == "real":
            return torch.zeros(1, dtype=rows.dtype, device=rows.device)
        return SUPPORTS[self.support].penalties(rows)

    def log_units(self, rows: Tensor, log_scale: Float64) -> Tensor:
        """Return the logarithms of the units in which the values of rows are counted.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)

        log_scale : ndarray of shape (n_features,)
            Logarithms of the scales of the standardization.

        Returns
        -------
        units : Tensor of shape (n_features,), dtype float64
            What the log-density of each is too high by, in original units.
        """
        return torch.as_tensor(log_scale).to(rows.device)


LIKELIHOODS: dict[str, Likelihood] = {
    "gaussian": Likelihood(gaussian, _identity, _draw_gaussian, has_scale=True),
    "laplace": Likelihood(laplace, _identity, _draw_laplace, has_scale=True),
    "student_t": Likelihood(student_t, _identity, _draw_student_t, has_scale=True),
    "bernoulli": Likelihood(
        bernoulli, torch.sigmoid, _draw_bernoulli, support="unit interval"
    ),
    "continuous_bernoulli": Likelihood(
        continuous_bernoulli,
        _continuous_bernoulli_mean,
        _draw_continuous_bernoulli,
        support="unit interval",
        link=bounded_logits,
    ),
    "poisson": Likelihood(poisson, poisson_mean, draw_poisson, support="counts"),
    "categorical": Likelihood(
        categorical,
        categorical_mean,
        draw_categorical,
        support="one-hot",
        cells=categorical_cells,
    ),
}
