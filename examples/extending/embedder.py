"""Add an embedder: an objective, a thin class, and its registration.

An autoencoder whose latent coordinates are kept near a sphere of radius one, so that
the angle between two of them says how alike the rows are.
"""

from functools import partial

import numpy as np
import torch

from latentsk.embedders._autoencoder import ReconstructionInference
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.embedders._neural_state import OPTIONAL, REQUIRED, check_network
from latentsk.networks._mlp import dropout_layers, perceptron_operations
from latentsk.persistence._registry import storable
from latentsk.training._losses import squared_error
from latentsk.training._objective import Losses, Objective


class SphericalReconstruction(Objective):
    """The squared error, and the squared distance of the latents from the sphere."""

    settled_at = 0.0  # the loss is the same from the first step on

    def __init__(self, network):
        self.masked = dropout_layers(network)

    def draw_noise(self, n_rows, generator):
        """Return the masks of dropout layers."""
        return {k: layer.draw(n_rows, generator) for k, layer in self.masked.items()}

    def loss(self, network, batch, noise, progress):
        """Return the loss of each row, and its terms for `history_`."""
        output, latents = network(batch)
        terms = {
            "reconstruction": squared_error(output, batch),
            "sphere": (latents.norm(dim=1) - 1.0).square(),
        }
        return Losses(terms["reconstruction"] + terms["sphere"], terms)

    def monitor(self, network, rows):
        """Return the same for the rows that epochs are compared by."""
        return self.loss(network, rows, {}, torch.ones(()))

    def gradient(self, network):
        """Leave the gradient to autograd."""
        return None

    def operations_per_row(self, network):
        """Tell how small the steps are: small ones get one thread."""
        return perceptron_operations(network)


@storable(
    REQUIRED,
    optional=OPTIONAL,
    check=partial(check_network, per_latent=1, objective={}),
)
class SphericalEmbedder(NeuralEmbedder):
    """An autoencoder with a latent space near a sphere.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
    max_epochs : int, default=200
    random_state : int, RandomState, Generator or None, default=None
    """

    def __init__(self, n_components="auto", *, max_epochs=200, random_state=None):
        self.n_components = n_components
        self.max_epochs = max_epochs
        self.random_state = random_state

    def _describe(self, X):
        network = self._describe_network(X.shape[1], per_latent=1)
        return {**network, "standardize": True}

    def _build(self, architecture):
        return self._build_pair(architecture)

    def _make_objective(self, network, precision):
        return SphericalReconstruction(network)

    def _make_inference(self, n_parts=None):
        return ReconstructionInference(from_logits=False)

    def _warn_of_result(self, X):
        """There is nothing to warn of."""

    def inverse_transform(self, X):
        """Return the rows that latent coordinates stand for."""
        return self._of_latents(self._inverse_transform(self._checked_latents(X)))


def main():
    """Fit it, and look at the lengths of the latent coordinates."""
    X = np.random.default_rng(0).normal(size=(300, 2)) @ [
        [1.0, 2.0, 0.0],
        [0.0, 1.0, 3.0],
    ]
    embedder = SphericalEmbedder(3, max_epochs=100, random_state=0).fit(X)
    lengths = np.linalg.norm(embedder.transform(X), axis=1)
    print(f"lengths: {lengths.mean():.2f} +- {lengths.std():.2f}")


if __name__ == "__main__":
    main()
