"""Add a step to what can be exported: one function in the registry.

scikit-learn's Binarizer, as a module of torch.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer

from latentsk import PCAEmbedder, to_onnx
from latentsk.export._modules import chain, constant
from latentsk.export._registry import exports
from latentsk.export._sources import Stage, as_numbers


class Above(torch.nn.Module):
    """1 where a number is above a threshold, else 0."""

    def __init__(self, threshold):
        super().__init__()
        # A tensor: torch writes plain numbers in float32.
        self.register_buffer("threshold", constant(threshold))

    def forward(self, rows):
        """Return zeros and ones, in the dtype of the rows."""
        return (rows > self.threshold).to(rows.dtype)


@exports(Binarizer)
def binarizer(step, source):
    """Return the stage: the module, and the columns that it returns."""
    numbers = as_numbers(source)
    return Stage(chain(numbers.module, Above(step.threshold)), numbers.source)


def main():
    """Export a Pipeline with the step, and compare."""
    X = np.random.default_rng(0).normal(size=(200, 5))
    pipeline = make_pipeline(Binarizer(threshold=0.3), PCAEmbedder(2)).fit(X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(pipeline, path)
        session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(["score_samples"], {"X": X})
    print("difference:", np.abs(scores - pipeline.score_samples(X)).max())


if __name__ == "__main__":
    main()
