"""What a file may claim of a fitted VQVAEEmbedder."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentsk.embedders._neural_state import check_network
from latentsk.embedders._vae_state import SCALE
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require
from latentsk.vae._code_prior import CODE_PRIORS
from latentsk.vae._fsq import factored
from latentsk.vae._likelihoods import LIKELIHOODS

QUANTIZERS = ("ema", "fsq")
# Weights that an autoregressive prior has at least for each pair of positions.
WEIGHTS_PER_PAIR = 64
_OBJECTIVE = {
    "likelihood": schema.text(*LIKELIHOODS),
    "scale": schema.either(schema.text("shared", "feature"), SCALE),
    "quantizer": schema.text(*QUANTIZERS),
    "n_codes": schema.count(1),
    "n_positions": schema.count(1),
    "code_dim": schema.count(1),
    "code_prior": schema.text(*CODE_PRIORS),
}


def check_vq_vae(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse codes that do not fit the file.

    Raises
    ------
    FormatError
    """
    described, weights = state["_architecture"], state["module_"]
    known = {name: described.get(name) for name in _OBJECTIVE}
    require(schema.fields(_OBJECTIVE).fits(known, sizes), "its codes are not described")
    n_codes, n_positions = described["n_codes"], described["n_positions"]
    code_dim = described["code_dim"]
    require(n_positions * code_dim == sizes["k"], "its codes have another length")
    # What is built from the description is about as large as the weights.
    available = sum(array.size for array in weights.values())
    needed = n_codes * (code_dim if described["quantizer"] == "ema" else 1)
    needed = max(needed, n_codes * n_positions)
    if described["code_prior"] == "autoregressive":
        needed = max(needed, WEIGHTS_PER_PAIR * n_positions**2)
    require(needed <= available, "weights of its codes are missing")
    if described["quantizer"] == "fsq":
        require(bool(factored(n_codes, code_dim)), "its codes are of no levels")
    check_network(embedder, state, sizes, per_latent=1, objective=_OBJECTIVE)
    for name, array in weights.items():
        if name.startswith(("quantizer.", "prior.")):
            require(bool(np.isfinite(array).all()), f"{name[:100]!r} is not finite")
        if name.endswith(("counts", "shares", "n_steps")):
            require(bool((array >= 0).all()), f"{name[:100]!r} is negative")
