"""Principal components and the linear-Gaussian model, as pure functions."""
