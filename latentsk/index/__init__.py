"""Nearest neighbours among latent vectors."""
