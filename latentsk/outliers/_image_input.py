"""Images for detectors: as flat rows, which their embedder is told of."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from latentsk._images import as_images
from latentsk._validation import checked
from latentsk.embedders._image_rows import image_rows, known_shape, pixels_diagnosed
from latentsk.embedders._neural import NeuralEmbedder
from latentsk.index._embedding import is_fitted_embedder
from latentsk.networks._image_layout import ImageLayout
from latentsk.outliers._steps import split_steps


def image_embedder(embedder: Any) -> NeuralEmbedder | None:
    """Return the step that takes images, if it is the only one."""
    preprocessor, last = split_steps(embedder)
    last = last.estimator if isinstance(last, FrozenEstimator) else last
    is_alone = preprocessor is None and isinstance(last, NeuralEmbedder)
    return last if is_alone else None


def flat_images(embedder: Any, X: Any) -> tuple[Any, ImageLayout | None]:
    """Return images as flat rows, channels first, and their layout.

    Parameters
    ----------
    embedder : transformer

    X : object
        Rows, or images that the embedder takes.

    Returns
    -------
    rows : array-like
        `X` itself where it holds no images, or the embedder takes none.

    layout : ImageLayout or None

    Raises
    ------
    ValueError
        If the layout cannot be told, or the images have another shape.
    """
    step = image_embedder(embedder)
    if step is None or as_images(X) is None:
        return X, None
    is_fitted = is_fitted_embedder(step)
    images = image_rows(X, known_shape(step, X) if is_fitted else step.input_shape)
    with pixels_diagnosed(X, images):
        return checked(np.asarray(images.rows), dtype=None), images.layout


def told_of_images(embedder: Any, layout: ImageLayout | None) -> Any:
    """Return an embedder that takes the images as flat rows.

    Parameters
    ----------
    embedder : transformer

    layout : ImageLayout or None

    Returns
    -------
    embedder : transformer
        A clone with `input_shape`, unless it is fitted or knows that.
    """
    step = image_embedder(embedder)
    if layout is None or step is None or step.input_shape is not None:
        return embedder
    if is_fitted_embedder(embedder):
        return embedder
    embedder = clone(embedder)
    name = f"{embedder.steps[-1][0]}__" if isinstance(embedder, Pipeline) else ""
    return embedder.set_params(**{f"{name}input_shape": tuple(layout.shape)})
