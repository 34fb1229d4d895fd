"""Similar rows, also among some only, near-duplicates, and an index in a file.

    .venv/bin/python examples/similarity.py

Handwritten digits (1,797 images of 8 x 8 pixels, shipped with scikit-learn).
"""

import tempfile
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits

from latentsk import LatentIndex, PCAEmbedder


def main() -> None:
    """Print what is found."""
    X, y = load_digits(return_X_y=True)
    ids = [f"image {i}" for i in range(len(X))]
    metadata = pd.DataFrame({"digit": y}, index=ids)
    embedder = PCAEmbedder(n_components=16).fit(X)
    index = LatentIndex(embedder, n_neighbors=3).fit(X, ids=ids, metadata=metadata)

    found = index.search(X[:2])
    digits = index.metadata_.loc[found["id"], "digit"].to_numpy()
    print(f"Similar rows\n{found.assign(digit=digits).round(2)}\n")
    eights = index.metadata_["digit"] == 8
    print(f"Only eights\n{index.search(X[:1], filter=eights).round(2)}\n")
    print(f"Closer to each other than 6\n{index.duplicates(6.0).head(4)}\n")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.latentsk"
        index.save(path)
        loaded = LatentIndex.load(path, embedder=embedder)
    print("The same from a file:", loaded.search(X[:2]).equals(found))


if __name__ == "__main__":
    main()
