"""The variational autoencoder: likelihoods, priors, bounds, estimates, scores."""

from latentsk.vae._component_prior import ComponentPrior
from latentsk.vae._disentanglement import mutual_information_gap
from latentsk.vae._likelihoods import LIKELIHOODS, Likelihood
from latentsk.vae._posterior import Posterior
from latentsk.vae._priors import PRIORS, Prior

__all__ = [
    "LIKELIHOODS",
    "PRIORS",
    "ComponentPrior",
    "Likelihood",
    "Posterior",
    "Prior",
    "mutual_information_gap",
]
