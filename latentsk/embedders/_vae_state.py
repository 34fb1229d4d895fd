"""What a file may claim of a fitted VAEEmbedder."""

from __future__ import annotations

from typing import Any

from latentsk.embedders._neural_state import check_network
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._priors import PRIORS

# Numbers that a score is drawn with, of all samples and latent dimensions.
MAX_DRAWN = 10_000_000
SCALE = schema.number(1e-300, 1e300)


def check_vae(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a network that does not fit the file, and scores without end.

    Raises
    ------
    FormatError, ValueError
    """
    drawn = embedder.n_score_samples * sizes["k"]
    require(drawn <= MAX_DRAWN, "it scores with too many samples")
    objective = {
        "likelihood": schema.text(*LIKELIHOODS),
        "scale": schema.either(schema.text("shared", "feature"), SCALE),
        "prior": schema.text(*PRIORS),
    }
    check_network(embedder, state, sizes, per_latent=2, objective=objective)
