"""Add a display: one class, whose `from_estimator` computes and whose `plot` draws.

The loss of a neural embedder, epoch by epoch.
"""

import argparse

import numpy as np

from latentsk import AutoencoderEmbedder
from latentsk.display._axes import given_or_new, require_matplotlib


class LossCurveDisplay:
    """Curves of the training and the validation loss, with the best epoch.

    Parameters
    ----------
    losses : dict of str to array-like of shape (n_epochs,)
        By the names of the curves.

    best_epoch : int
        From 1.
    """

    def __init__(self, losses, best_epoch):
        self.losses = losses
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Take the losses of a fitted neural embedder, and draw them."""
        require_matplotlib("LossCurveDisplay.from_estimator")
        history = estimator.history_
        losses = {"training": [epoch["train_loss"] for epoch in history]}
        if history[0]["validation_loss"] is not None:
            losses["validation"] = [epoch["validation_loss"] for epoch in history]
        return cls(losses, estimator.best_epoch_).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the curves, on given axes or on new ones."""
        self.ax_ = given_or_new(ax)
        self.figure_ = self.ax_.figure
        for name, losses in self.losses.items():
            self.ax_.plot(np.arange(1, len(losses) + 1), losses, label=name)
        line = {"color": "0.5", "linestyle": ":", "label": "best epoch"}
        self.ax_.axvline(self.best_epoch, **line)
        self.ax_.set(xlabel="epoch", ylabel="loss per row")
        self.ax_.legend()
        return self


def main(path=None):
    """Draw the losses of an autoencoder, into a file if one is named."""
    X = np.random.default_rng(0).normal(size=(300, 2)) @ [
        [1.0, 2.0, 0.0],
        [0.0, 1.0, 3.0],
    ]
    embedder = AutoencoderEmbedder(2, max_epochs=40, random_state=0).fit(X)
    display = LossCurveDisplay.from_estimator(embedder)
    print(f"curves: {', '.join(display.losses)}; best epoch {display.best_epoch}")
    if path is not None:
        display.figure_.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", help="file to draw into")
    main(parser.parse_args().path)
