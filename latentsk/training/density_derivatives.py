"""The derivatives of likelihoods, by the decoder's output and by the scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from latentsk.modules.likelihoods import (
    DEGREES_OF_FREEDOM,
    LIKELIHOODS,
    LOG_TWO_PI,
    gaussian,
    laplace,
    student_t,
)


class Derived(NamedTuple):
    """A log-density with its derivatives.

    Attributes
    ----------
    densities : Tensor of shape (n_samples, n_rows)
    factor : Tensor or None
        By which what was written to `out` is to be multiplied; None is one.
    by_log_scale : callable or None
        Returns the derivative by the logarithm of the scale, if there is one, of shape
        (n_samples, n_rows, n_scales). To be called before `out` is changed.
    """

    densities: Tensor
    factor: Tensor | None = None
    by_log_scale: Callable[[], Tensor] | None = None


Derive = Callable[[Tensor, Tensor, Tensor, Tensor], Derived]


def _gaussian(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    torch.sub(rows, output, out=out)
    width, precision = rows.shape[-1], torch.exp(log_scale * -2.0)
    if log_scale.numel() == 1:
        # One pass, without a temporary array.
        squares = torch.linalg.vector_norm(out, dim=-1).square_().mul_(precision)
        constant = width * (log_scale + 0.5 * LOG_TWO_PI)
        densities = torch.add(constant, squares, alpha=0.5).neg_()
        return Derived(densities, precision, lambda: (squares - width)[..., None])
    densities = gaussian(rows, output, log_scale)
    return Derived(densities, precision, lambda: out.square() * precision - 1.0)


def _laplace(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    inverse = torch.exp(-log_scale)
    deviations = torch.abs(torch.sub(rows, output, out=out)) * inverse
    out.sign_()
    return Derived(
        laplace(rows, output, log_scale),
        inverse,
        lambda: _summed(deviations - 1.0, log_scale),
    )


def _student_t(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
    inverse = torch.exp(-log_scale)
    squares = torch.sub(rows, output, out=out).mul_(inverse).square()
    pulls = (DEGREES_OF_FREEDOM + 1.0) / (DEGREES_OF_FREEDOM + squares)
    out.mul_(pulls)
    return Derived(
        student_t(rows, output, log_scale),
        inverse,
        lambda: _summed(squares * pulls - 1.0, log_scale),
    )


def _summed(by_log_scale: Tensor, log_scale: Tensor) -> Tensor:
    """Sum over the features that share a scale."""
    shared = log_scale.numel() == 1
    return by_log_scale.sum(dim=-1, keepdim=True) if shared else by_log_scale


def _from_logits(name: str) -> Derive:
    likelihood = LIKELIHOODS[name]

    def derive(rows: Tensor, output: Tensor, log_scale: Tensor, out: Tensor) -> Derived:
        # An exponential family: the value minus its mean.
        torch.sub(rows, likelihood.mean(output), out=out)
        return Derived(likelihood.log_density(rows, output, log_scale))

    return derive


# Write the derivative of each log-density by the output into `out`, but for a factor.
DENSITY_DERIVATIVES: dict[str, Derive] = {
    "gaussian": _gaussian,
    "laplace": _laplace,
    "student_t": _student_t,
    "bernoulli": _from_logits("bernoulli"),
    "continuous_bernoulli": _from_logits("continuous_bernoulli"),
}
