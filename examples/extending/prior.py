"""Add a prior: one class, and its name in a table.

Independent Laplace coordinates, whose scales are learned. There is no need for a closed
form of the KL divergence: without one, samples estimate it.
"""

import math

import numpy as np
import torch
from torch import nn

from latentsk import VAEEmbedder
from latentsk.vae import PRIORS, Prior


class LaplacePrior(Prior):
    """Independent Laplace distributions around zero.

    Parameters
    ----------
    n_latents : int
    """

    def __init__(self, n_latents):
        super().__init__()
        # A parameter: it is trained with the network, and saved with it.
        self.log_scale = nn.Parameter(torch.zeros(n_latents))

    def log_density(self, latents):
        """Return log p(z), summed over latent dimensions, in nats."""
        deviations = latents.abs() * torch.exp(-self.log_scale)
        return -(deviations + self.log_scale + math.log(2.0)).sum(dim=-1)

    def divergence(self, posterior):
        """Return None: samples estimate the divergence."""
        return None

    def draw(self, n_rows, generator):
        """Return random latents, of shape (n_rows, n_latents)."""
        scale = self.log_scale.detach().double().exp().numpy()
        return scale * generator.laplace(size=(n_rows, len(scale)))


PRIORS["laplace"] = LaplacePrior


def main():
    """Fit, score and draw with it."""
    X = np.random.default_rng(0).normal(size=(300, 2)) @ [
        [1.0, 2.0, 0.0],
        [0.0, 1.0, 3.0],
    ]
    vae = VAEEmbedder(2, prior="laplace", max_epochs=30, random_state=0).fit(X)
    print(f"mean ELBO: {vae.score(X):.2f} nats; drawn: {vae.sample(5).shape}")


if __name__ == "__main__":
    main()
