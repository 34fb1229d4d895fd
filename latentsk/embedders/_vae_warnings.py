"""Warnings after the fit of a variational autoencoder: latents that tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from latentsk._typing import Float64
from latentsk._warnings import warn
from latentsk.embedders._vae_likelihood import has_one_unit
from latentsk.exceptions import PosteriorCollapseWarning, PriorMismatchWarning
from latentsk.vae._report import active

# Rows from which their latents can tell.
MIN_ROWS_TO_EXAMINE = 32
# Epochs after which an upper level should have come into use.
MIN_EPOCHS_TO_TELL = 50
# Nats that a level's means tell of a row, at least, if it is of use.
MIN_INFORMATION = 0.05
# Nats in all, and for each active dimension, which is about what a standard deviation
# of 2.2 instead of 1 makes, or a mean of 1.4 instead of 0.
MAX_DISTANCE = 10.0
MAX_DISTANCE_EACH = 1.0


def warn_of_latents(
    embedder: Any, means: Float64, distance_from_prior: Callable[[], float]
) -> None:
    """Warn of posteriors that collapsed, or that lie far from the prior together.

    Parameters
    ----------
    embedder : VariationalEmbedder
        With its parameters.

    means : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows; of few ones nothing is said.

    distance_from_prior : callable
        Of the same rows; asked only where it tells something.
    """
    if len(means) < MIN_ROWS_TO_EXAMINE:
        return
    n_active = int(active(means).sum())
    if not n_active:
        _warn_of_collapse(means.shape[1])
        return
    distance = distance_from_prior()
    if distance > max(MAX_DISTANCE, MAX_DISTANCE_EACH * n_active):
        warn(
            f"The latent coordinates lie far from the prior: {distance:.1f} nats for "
            f"{n_active} active dimensions (distance_from_prior of latent_report), "
            "where a good fit has less than 1 for each. Rows that sample draws are "
            f"unlike the data then. {_remedies(embedder)}",
            PriorMismatchWarning,
        )


def warn_of_levels(n_epochs: int, means: Float64, widths: Sequence[int]) -> None:
    """Warn of levels that no row makes use of, where others are used.

    Parameters
    ----------
    n_epochs : int
        Of the training; a short one tells nothing.

    means : ndarray of shape (n_rows, n_latents)
        Of the posteriors of some rows; of few ones nothing is said.

    widths : sequence of int
        Latent dimensions of each level, from the lowest.
    """
    if len(means) < MIN_ROWS_TO_EXAMINE or n_epochs < MIN_EPOCHS_TO_TELL:
        return
    variances = np.split(means.var(axis=0), np.cumsum(widths)[:-1])
    is_used = [0.5 * float(part.sum()) >= MIN_INFORMATION for part in variances]
    unused = [str(level) for level, used in enumerate(is_used, 1) if not used]
    if not unused or not any(is_used):
        return
    warn(
        f"Level {' and '.join(unused)} of {len(widths)} is not used: its posterior is "
        "about the same for every row. Raise kl_warmup (0.5, say) or free_nats (0.1), "
        "or train longer. If that does not help, the rows need no more levels: use "
        "fewer, or VAEEmbedder.",
        PosteriorCollapseWarning,
    )


def _warn_of_collapse(n_latents: int) -> None:
    warn(
        "The posterior collapsed: it is about the same for every row, so that "
        f"none of the {n_latents} latent dimensions tells rows apart. "
        "Raise kl_warmup (0.5, say) or free_nats (0.1), lower beta, fix a "
        "smaller likelihood_scale, or train longer. Data of independent noise "
        "have no other answer.",
        PosteriorCollapseWarning,
    )


def _larger_scale(embedder: Any) -> str:
    """Return what to do about a scale that is fixed too small.

    One that is learned for all pixels is as small, and one for each detects less.
    """
    larger = f"a larger likelihood_scale ({2 * embedder.likelihood_scale:g}, say)"
    if has_one_unit(embedder, embedder._architecture):
        return f"Fix {larger}."
    return f"Have likelihood_scale='feature' learned, or fix {larger}."


def _remedies(embedder: Any) -> str:
    """Return what helps, as the parameters are."""
    found = []
    if not isinstance(embedder.likelihood_scale, str):
        found.append(_larger_scale(embedder))
    if embedder.capacity is not None:
        found.append(f"Lower capacity, which is {embedder.capacity:g} nats.")
    if embedder.free_nats:
        found.append(f"Lower free_nats, which is {embedder.free_nats:g}.")
    more = "to 1" if embedder.beta < 1 else f"({4 * embedder.beta:g}, say)"
    return " ".join(
        [
            *found,
            f"Raise beta {more}, or train for more steps (max_epochs, a smaller "
            "batch_size); where rows are few for the number of features, try "
            "weight_decay=0.1, fewer n_components or smaller hidden_layer_sizes.",
        ]
    )
