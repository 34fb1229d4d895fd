"""A ladder of levels: the latents of each follow those of the level above."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentsk.networks._mlp import linear, mlp
from latentsk.vae._density import Density
from latentsk.vae._latent_basis import turn_latents
from latentsk.vae._levels import Levels
from latentsk.vae._levels_density import LevelsDensity
from latentsk.vae._posterior import Posterior, bounded

# Share of the training in which the lowest level is trained alone.
STARTS_AT = 0.25


def merged(evidence: Posterior, prior: Posterior) -> Posterior:
    """Return the normalized product of two normal distributions, in the prior's units.

    That is the posterior of ``u = (z - mean) / scale``, with mean and scale those of
    the prior of z; that of u is standard normal (Sonderby et al., 2016).

    Parameters
    ----------
    evidence, prior : Posterior
        Of z: what the row says of it, and what the level above does.

    Examples
    --------
    >>> two, zero = torch.full((1, 1), 2.0), torch.zeros(1, 1)
    >>> merged(Posterior(two, zero), Posterior(zero, zero))
    Posterior(mean=tensor([[1.]]), log_variance=tensor([[-0.6931]]))
    """
    # Precision of the evidence over that of the prior.
    log_ratio = prior.log_variance - evidence.log_variance
    distance = (evidence.mean - prior.mean) * torch.exp(-0.5 * prior.log_variance)
    return Posterior(distance * torch.sigmoid(log_ratio), -F.softplus(log_ratio))


def evidence_of(encoded: Posterior) -> Posterior:
    """Return what an encoder's output says of the latents of a level.

    Its mean is that of the posterior if the prior was standard normal: however wide the
    evidence is, it moves the posterior by as much. The gradient would be lost with the
    precision otherwise, and the level stay out of use from the first steps on.

    Parameters
    ----------
    encoded : Posterior
        That mean, and the log-variance of the evidence.

    Examples
    --------
    >>> encoded = Posterior(torch.full((1, 1), 2.0), torch.full((1, 1), 9.0))
    >>> standard = Posterior(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> merged(evidence_of(encoded), standard).mean
    tensor([[2.]])
    """
    mean, log_variance = encoded
    return Posterior(mean * (1.0 + torch.exp(log_variance)), log_variance)


class LadderPosterior(NamedTuple):
    """Distributions of latents from the top level down, each given the level above.

    Attributes
    ----------
    evidence : Posterior
        What a row says of every level; of the top, the posterior.
    ladder : Ladder
    """

    evidence: Posterior
    ladder: Ladder

    def draw(self, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Return latents, and the distributions that they were drawn from."""
        ladder, found = self.ladder, []
        upper: Tensor | None = None
        for level, places in ladder.from_the_top():
            # In the noise's dtype, if products of matrices are in a shorter one.
            given = Posterior(*(m[..., places].to(noise.dtype) for m in self.evidence))
            prior = None if upper is None else ladder.prior(level, upper)
            if prior is not None:
                given = merged(evidence_of(given), prior)
            latents = given.at(noise[..., places])
            if level:  # what no level lies below is not needed
                upper = latents if prior is None else prior.at(latents)
            moments = (moment.expand_as(latents) for moment in given)
            found.append((latents, *moments))
        parts = zip(*reversed(found), strict=True)
        latents, mean, log_variance = (torch.cat(part, dim=-1) for part in parts)
        return latents, Posterior(mean, log_variance)

    def central(self) -> Posterior:
        """Return the distributions where the levels above lie at their means."""
        return self.draw(torch.zeros_like(self.evidence.mean))[1]


class Ladder(nn.Module, Levels):
    """Levels whose latents are normal given the level above.

    The coordinates of a level are ``u = (z - mean) / scale``, with the mean and the
    scale of z given the level above. They are standard normal, whatever that is, so
    that all but those of the top level are independent.

    Until the ladder starts, levels have nothing to say to each other, and the lowest is
    trained alone. One that is given noise from above, before anything has been learned
    there, would be drowned by it and fall out of use.

    Parameters
    ----------
    widths : sequence of int
        Latent dimensions of each level, from the lowest to the top.

    hidden_layer_sizes : sequence of int, default=()
        Of the perceptrons that lead from a level to the one below.

    options
        As of :func:`latentsk.networks._mlp.mlp`.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> ladder = initialize(Ladder([3, 2]), torch.Generator().manual_seed(0))
    >>> ladder.start()
    >>> ladder.decoded(torch.ones(1, 5))
    tensor([[1., 1., 1.]], grad_fn=<CatBackward0>)
    """

    has_started: Tensor

    def __init__(
        self,
        widths: Sequence[int],
        hidden_layer_sizes: Sequence[int] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        stops = list(accumulate(widths))
        self.places = [slice(e - w, e) for e, w in zip(stops, widths, strict=True)]
        self.n_latents = stops[-1]
        self.priors = nn.ModuleList(
            mlp([upper, *hidden_layer_sizes, 2 * lower], **options)
            for lower, upper in pairwise(widths)
        )
        # A number that the output is multiplied by, so that no step is another one.
        self.register_buffer("has_started", torch.zeros((), dtype=torch.float32))

    @property
    def starts_at(self) -> float:
        """Share of the training after which the levels are joined."""
        return STARTS_AT

    def start(self) -> None:
        """Join the levels, each with a standard normal prior to begin with."""
        with torch.no_grad():
            for perceptron in self.priors:
                for parameter in list(perceptron.parameters())[-2:]:  # the last layer's
                    parameter.zero_()
            self.has_started.fill_(1.0)

    def from_the_top(self) -> Iterator[tuple[int, slice]]:
        """Return the number of each level, and the places of its coordinates."""
        return reversed(list(enumerate(self.places)))

    def prior(self, level: int, upper: Tensor) -> Posterior:
        """Return the distribution of z in a level, given that of the level above."""
        flat = self.has_started * self.priors[level](upper.flatten(0, -2))
        flat = flat.to(upper.dtype)
        mean, raw = flat.view(*upper.shape[:-1], -1).chunk(2, dim=-1)
        return Posterior(mean, bounded(raw))

    def posterior(self, encoded: Posterior) -> LadderPosterior:
        """Return the posterior of all levels."""
        return LadderPosterior(encoded, self)

    def top(self, encoded: Posterior) -> Posterior:
        """Return the posterior of the top level."""
        return Posterior(*(moment[..., self.places[-1]] for moment in encoded))

    def density(self, top: Density) -> LevelsDensity:
        """Return the distribution of all coordinates."""
        return LevelsDensity(top, self.places[-1].start)

    def decoded(self, latents: Tensor) -> Tensor:
        """Return z of the lowest level, and what lies behind the latents."""
        (_, places), *lower = self.from_the_top()
        z = latents[..., places]
        for level, places in lower:
            z = self.prior(level, z).at(latents[..., places])
        return torch.cat([z, latents[..., self.n_latents :]], dim=-1)

    def turn(self, encoder: nn.Module, decoder: nn.Module, matrix: Tensor) -> None:
        """Multiply the latents of the top level by a matrix."""
        last = encoder[-1] if isinstance(encoder, nn.Sequential) else encoder
        assert isinstance(last, BottomUp), "what a ladder has"
        turn_latents(nn.Sequential(last.heads[-1]), self.priors[-1], matrix)


class BottomUp(nn.Module):
    """From hidden units to what they say of the latents of every level.

    Parameters
    ----------
    first : nn.Linear
        From the hidden units to mean and raw log-variance of the lowest level.

    widths : sequence of int
        Latent dimensions of each level, from the lowest to the top.

    hidden_layer_sizes : sequence of int, default=()
        Of the perceptrons that lead from the units of a level to those of the next one.

    options
        As of :func:`latentsk.networks._mlp.mlp`.

    Examples
    --------
    >>> from latentsk.networks._mlp import initialize
    >>> network = BottomUp(linear(4, 6), [3, 2], [8])
    >>> network = initialize(network, torch.Generator().manual_seed(0))
    >>> network(torch.zeros(5, 4)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        first: nn.Linear,
        widths: Sequence[int],
        hidden_layer_sizes: Sequence[int] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        sizes = [first.in_features, *hidden_layer_sizes]
        self.stages = nn.ModuleList()
        self.heads = nn.ModuleList([first])
        for width in widths[1:]:
            # A perceptron without its last, linear layer.
            self.stages.append(mlp([*sizes, 1], **options)[:-1])
            self.heads.append(linear(sizes[-1], 2 * width))
            sizes[0] = sizes[-1]

    def forward(self, units: Tensor) -> Tensor:
        """Return the means of all levels, then their raw log-variances."""
        halves = [self.heads[0](units).chunk(2, dim=-1)]
        for stage, head in zip(self.stages, self.heads[1:], strict=True):
            units = stage(units)
            halves.append(head(units).chunk(2, dim=-1))
        means, raws = zip(*halves, strict=True)
        return torch.cat([*means, *raws], dim=-1)
