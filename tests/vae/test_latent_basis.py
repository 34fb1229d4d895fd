import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

from latentsk.networks._mlp import initialize, mlp
from latentsk.vae._latent_basis import discriminant_basis, turn_latents
from latentsk.vae._network import VAE
from latentsk.vae._posterior import Posterior


def posterior_of(n_rows=300, n_latents=3):
    rng = np.random.default_rng(0)
    labels = np.arange(n_rows) % 4
    mixing = rng.normal(size=(n_latents, n_latents))
    means = rng.normal(size=(4, n_latents))[labels] * 4.0
    means += rng.normal(size=(n_rows, n_latents)) @ mixing
    log_variances = rng.normal(size=(n_rows, n_latents)) - 1.0
    return Posterior(*map(torch.from_numpy, (means, log_variances))), labels


def test_within_clusters_coordinates_are_uncorrelated_and_of_variance_one():
    posterior, labels = posterior_of()
    basis = discriminant_basis(posterior, torch.from_numpy(labels)).numpy()
    means = posterior.mean.numpy()
    within = np.diag(posterior.log_variance.exp().mean(dim=0).numpy())
    for label in range(4):
        members = means[labels == label]
        within += np.cov(members.T, bias=True) * len(members) / len(means)
    np.testing.assert_allclose(basis @ within @ basis.T, np.eye(3), atol=1e-4)
    centres = np.array([means[labels == label].mean(axis=0) for label in range(4)])
    between = basis @ np.cov(centres.T) @ basis.T
    np.testing.assert_allclose(between, np.diag(between.diagonal()), atol=1e-6)
    assert (np.diff(between.diagonal()) < 0).all()


def test_the_axes_are_those_of_linear_discriminant_analysis():
    posterior, labels = posterior_of()
    exact = Posterior(posterior.mean, torch.full_like(posterior.mean, -30.0))
    basis = discriminant_basis(exact, torch.from_numpy(labels)).numpy()
    peer = LinearDiscriminantAnalysis(solver="eigen").fit(posterior.mean, labels)
    theirs = peer.scalings_[:, :3].T
    cosines = (basis * theirs).sum(axis=1)
    cosines /= np.linalg.norm(basis, axis=1) * np.linalg.norm(theirs, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-4)


@pytest.mark.parametrize("n_conditions", [0, 2])
def test_a_turned_network_reconstructs_as_before(n_conditions):
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = mlp([5 + n_conditions, 7, 6]), mlp([3 + n_conditions, 7, 5])
    vae = VAE(encoder, decoder, n_conditions=n_conditions)
    vae = initialize(vae, generator).double()
    rows = torch.randn(11, 5 + n_conditions, generator=generator).double()
    matrix = torch.randn(3, 3, generator=generator).double()
    before = vae.encode(rows).mean
    output = vae.decode(before, rows)
    turn_latents(vae.encoder, vae.decoder, matrix)
    after = vae.encode(rows).mean
    torch.testing.assert_close(after, before @ matrix.T)
    torch.testing.assert_close(vae.decode(after, rows), output)


def test_variances_of_a_scaled_latent_are_scaled():
    encoder, decoder = nn.Sequential(nn.Linear(2, 4)), nn.Sequential(nn.Linear(2, 2))
    vae, rows = VAE(encoder, decoder), torch.arange(10.0).view(5, 2)
    before = vae.encoder(rows)[:, 2:]
    turn_latents(encoder, decoder, torch.diag(torch.tensor([3.0, 0.5])))
    factors = (vae.encoder(rows)[:, 2:] - before).exp()
    torch.testing.assert_close(factors, torch.tensor([9.0, 0.25]).expand(5, 2))


def test_custom_modules_that_do_not_end_with_a_linear_layer_stay():
    encoder, decoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh()), nn.Linear(2, 2)
    before = encoder[0].weight.clone()
    turn_latents(encoder, decoder, 2.0 * torch.eye(2))
    assert torch.equal(encoder[0].weight, before)
