"""A page that shows what is known of rows in a latent space."""

from latentsk.explorer._explore import explore
from latentsk.explorer._page import Explorer

__all__ = ["Explorer", "explore"]
