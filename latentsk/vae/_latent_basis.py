"""Other coordinates of the same latent space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentsk.vae._posterior import Posterior

# Of the mean variance within clusters, added to that of every direction.
RIDGE = 1e-6


def discriminant_basis(posterior: Posterior, labels: Tensor) -> Tensor:
    """Return the coordinates in which clusters are most alike, and normal ones apart.

    Those of linear discriminant analysis (Fisher, 1936): within clusters they are
    uncorrelated and have variance one, between them they are uncorrelated, so that
    normal components with independent coordinates fit the clusters.

    Parameters
    ----------
    posterior : Posterior
        Of n_rows rows. Clusters are those of their latents: means, and variances.

    labels : Tensor of shape (n_rows,), dtype int64
        From 0, none left out.

    Returns
    -------
    basis : Tensor of shape (n_latents, n_latents), dtype float64
        What latents are multiplied by.

    Examples
    --------
    >>> means = torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 8.0], [4.0, 8.0]])
    >>> posterior = Posterior(means, torch.tensor([4.0, 1.0]).log().expand(4, 2))
    >>> basis = discriminant_basis(posterior, torch.tensor([0, 0, 1, 1]))
    >>> (basis @ torch.tensor([4.0, 8.0]).double()).abs().round(decimals=3)
    tensor([8.2460, 0.0000], dtype=torch.float64)
    """
    means = posterior.mean.double()
    variances = posterior.log_variance.double().exp().mean(dim=0)
    centres = cluster_means(means, labels)
    residuals, offsets = means - centres[labels], centres[labels] - means.mean(dim=0)
    within = residuals.T @ residuals / len(means) + torch.diag(variances)
    ridge = RIDGE * within.diagonal().mean()
    root = torch.linalg.cholesky(within + ridge * torch.eye(len(within)).to(within))
    between = torch.linalg.solve_triangular(root, offsets.T, upper=False)
    _, axes = torch.linalg.eigh(between @ between.T / len(means))
    # Those first that tell clusters apart most.
    basis = torch.linalg.solve_triangular(root.T, axes.flip(1), upper=True)
    return basis.T


def cluster_means(values: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the rows of each cluster.

    Parameters
    ----------
    values : Tensor of shape (n_rows, n_columns)

    labels : Tensor of shape (n_rows,), dtype int64
        From 0, none left out.

    Examples
    --------
    >>> labels = torch.tensor([1, 0, 1])
    >>> cluster_means(torch.tensor([[1.0], [5.0], [3.0]]), labels)
    tensor([[5.],
            [2.]])
    """
    members = nn.functional.one_hot(labels).to(values)
    return members.T @ values / members.sum(dim=0)[:, None]


def turn_latents(encoder: nn.Module, decoder: nn.Module, matrix: Tensor) -> None:
    """Multiply the latents between two networks by a matrix, in place.

    The decoder returns the same as before for the means of posteriors. Their variances
    are those of the new coordinates, in the geometric mean, without correlations.
    Nothing changes, unless the encoder ends, and the decoder begins, with a linear
    layer.

    Parameters
    ----------
    encoder, decoder : nn.Module

    matrix : Tensor of shape (n_latents, n_latents)

    Examples
    --------
    >>> encoder = nn.Sequential(nn.Linear(1, 2, bias=False))
    >>> decoder = nn.Sequential(nn.Linear(1, 1, bias=False))
    >>> before = decoder(encoder(torch.ones(1, 1))[:, :1])
    >>> turn_latents(encoder, decoder, torch.tensor([[3.0]]))
    >>> torch.allclose(decoder(encoder(torch.ones(1, 1))[:, :1]), before)
    True
    """
    if not isinstance(encoder, nn.Sequential) or not isinstance(decoder, nn.Sequential):
        return
    last, first = encoder[-1], decoder[0]
    if not isinstance(last, nn.Linear) or not isinstance(first, nn.Linear):
        return
    with torch.no_grad():
        matrix = matrix.to(last.weight)
        shares = matrix.square() / matrix.square().sum(dim=1, keepdim=True)
        turned = torch.block_diag(matrix, shares)
        last.weight.copy_(turned @ last.weight)
        if last.bias is not None:
            last.bias.copy_(turned @ last.bias)
            last.bias[len(matrix) :] += matrix.square().sum(dim=1).log()
        # Behind the latents are conditions, if there are some.
        columns = first.weight[:, : len(matrix)]
        columns.copy_(torch.linalg.solve(matrix, columns, left=False))
