"""What a file may claim of a fitted VAEEmbedder."""

from __future__ import annotations

from typing import Any

from latentsk.embedders._neural_state import check_network
from latentsk.persistence import _schema as schema
from latentsk.persistence._schema import Sizes, State, require
from latentsk.vae._likelihoods import LIKELIHOODS
from latentsk.vae._priors import PRIORS, ComponentPrior
from latentsk.vae._vamp_prior import VampPrior

# Numbers that a score is drawn with, of all samples and latent dimensions.
MAX_DRAWN = 10_000_000
SCALE = schema.number(1e-300, 1e300)


def _prior_of(state: State) -> type:
    """Return the class that a file names, or any other."""
    name = state["_architecture"].get("prior")
    return PRIORS.get(name, object) if isinstance(name, str) else object


def _components(state: State, width: int) -> schema.Rule:
    """Return the rule of a number of components: no more than there are weights of.

    Each has as many as `width`.
    """
    weights = sum(array.size for array in state["module_"].values())
    count = schema.count(1)
    return schema.Rule(
        lambda value, sizes: count.fits(value, sizes) and value * width <= weights,
        "number of components",
    )


def _likelihood_rules(state: State) -> dict[str, schema.Rule]:
    """Return the rules of what a description tells of the likelihood."""
    table = state.get("_table")
    is_mixed = table is not None and table.is_mixed
    described = state["_architecture"]
    require(is_mixed == ("blocks" in described), "its likelihood is of another table")
    if table is None or not is_mixed:
        return {"likelihood": schema.text(*LIKELIHOODS)}
    blocks = [list(block) for block in table.blocks]
    known = all(kind in LIKELIHOODS for kind, _ in blocks)
    require(known, "a column has no likelihood that is known")
    tells_gaps = described.get("network") != "custom"
    n_counts = sum(w for kind, w in blocks if LIKELIHOODS[kind].support == "counts")
    return {
        "blocks": schema.Rule(lambda value, _: value == blocks, "likelihoods"),
        "count_means": schema.list_of(schema.number(), n_counts),
        "count_scales": schema.list_of(schema.number(1e-300), n_counts),
        "tells_gaps": schema.Rule(lambda value, _: value is tells_gaps, "flag"),
    }


def check_vae(embedder: Any, state: State, sizes: Sizes) -> None:
    """Refuse a network that does not fit the file, and scores without end.

    Raises
    ------
    FormatError, ValueError
    """
    check_variational(embedder, state, sizes, sizes["k"], sizes["k"], {})


def check_variational(
    embedder: Any,
    state: State,
    sizes: Sizes,
    n_lowest: int,
    n_top: int,
    levels: dict[str, schema.Rule],
) -> None:
    """Refuse a network that does not fit the file, and scores without end.

    Parameters
    ----------
    embedder : estimator
        With its parameters.

    state : mapping of str to object

    sizes : dict of str to int

    n_lowest, n_top : int
        Latent dimensions next to the data, and those that the prior is for.

    levels : dict of str to Rule
        Of what the architecture says of levels.

    Raises
    ------
    FormatError, ValueError
    """
    drawn = embedder.n_score_samples * sizes["k"]
    require(drawn <= MAX_DRAWN, "it scores with too many samples")
    objective = {
        **_likelihood_rules(state),
        **levels,
        "scale": schema.either(schema.text("shared", "feature"), SCALE),
        "prior": schema.text(*PRIORS),
    }
    kind = _prior_of(state)
    if issubclass(kind, ComponentPrior):
        table = state.get("_table")
        seen = sizes["n_features"] if table is None else len(table.sources)
        told = state["_architecture"].get("tells_gaps", False)
        seen += len(table.modelled) if table is not None and told else 0
        width = seen if issubclass(kind, VampPrior) else n_top
        objective["n_prior_components"] = _components(state, width)
    check_network(
        embedder, state, sizes, per_latent=2, objective=objective, n_latents=n_lowest
    )
