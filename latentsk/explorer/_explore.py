"""Everything that is known of rows in a latent space, on one page."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Any

from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike

from latentsk._threads import fork_safe
from latentsk.explorer._contents import Request, gather
from latentsk.explorer._model import last_step
from latentsk.explorer._page import Explorer, page_of
from latentsk.explorer._sections import TooLarge, sections_of
from latentsk.persistence._atomic import atomic_file, check_target


def explore(
    X: ArrayLike,
    *,
    embedder: Any = None,
    detector: Any = None,
    index: Any = None,
    labels: ArrayLike | None = None,
    images: ArrayLike | tuple[int, ...] | None = None,
    metadata: Any = None,
    ids: ArrayLike | None = None,
    projection: Any = None,
    duplicate_threshold: float | None = None,
    title: str | None = None,
    path: str | os.PathLike[str] | None = "explorer.html",
    max_bytes: int = 15_000_000,
    random_state: int | RandomState | Generator | None = 0,
) -> Explorer:
    """Write a page that shows a latent space: map, scores, reasons, neighbours.

    One HTML file that needs no network and no server. It has a map of the latent space,
    coloured by label, score or any column; a threshold to move, with counts and, where
    the detector is calibrated, error rates; for a point that is clicked on its reasons,
    its reconstruction and its nearest neighbours; for a group that is drawn around what
    tells it from the others; near-duplicates; and ids to copy or download.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or images
        Rows to show; what the models take: tables, images (channels first or last),
        texts. Rows that models were fitted to look more normal than new ones: leave
        them out where rates are to mean something.

    embedder : transformer or None, default=None
        The latent space: any object with `fit` and `transform`. A fitted one is used as
        it is; an unfitted one is cloned and fitted to `X`. None: that of the detector,
        or of the index; of an index without one, the vectors themselves.

    detector : object or None, default=None
        What scores rows, such as :class:`LatentOutlierDetector`: any object with
        `score_samples`, and what else there is of `offset_`, `calibration_scores_`,
        `p_values` and `explain`. A detector of PyOD will do. None: the embedder, where
        it has `score_samples`. Where there is no embedder and no index either, a
        :class:`LatentOutlierDetector` is fitted to `X`.

    index : LatentIndex or None, default=None
        Finds neighbours and near-duplicates: an index of the rows of `X`, in their
        order. None: the latent vectors are compared, exactly up to 20,000 rows, then
        with a recall of 0.95 where FAISS is installed.

    labels : array-like of shape (n_samples,) or None, default=None
        What the rows are known to be.

    images : array-like of shape (n_samples, ...), tuple of int or None, default=None
        Images to show rows as: an array of (height, width), with channels first or
        last. A tuple: rows of `X` are images of this height and width, or channels,
        height and width. None: they are where `X` or the embedder says so.
        Reconstructions are shown where rows of `X` are images, too.

    metadata : DataFrame of n_samples rows or None, default=None
        What else is known of the rows, to colour and compare by. Aligned by the `ids`,
        as in :meth:`LatentIndex.fit`. The first column of texts that nearly all differ
        stands beside the ids in lists. None: that of the index.

    ids : array-like of shape (n_samples,) or None, default=None
        Unique ids. None: those of the index, the index of a DataFrame, or row numbers.

    projection : transformer, array-like of shape (n_samples, 2) or None, default=None
        Where points lie. A transformer is fitted to the latent vectors, for example
        ``sklearn.manifold.TSNE()`` or ``umap.UMAP()``. None: two latents as they are;
        of more, the leading principal components; of one, it and the score.

    duplicate_threshold : float or None, default=None
        Rows that a chain of neighbours joins, none farther than this from the next, are
        near-duplicates. None: a tenth of the median distance to the nearest row.

    title : str or None, default=None
        Title of the page. None: the name of the class that scores, or embeds, rows.

    path : str, path-like or None, default="explorer.html"
        Where to write the page; a file that is there is replaced. None: nowhere.

    max_bytes : int, default=15_000_000
        Largest size of the page. What every row has comes first: position, score,
        label, five neighbours and five reasons; then thumbnails (at most 14 x 14 and
        grey at 60,000 rows) or the columns of a table; then images, reconstructions and
        all reasons of the 2,000 rows with the lowest scores and 2,000 others, or fewer.
        The page says what is left out.

    random_state : int, RandomState, Generator or None, default=0
        Seeds the default detector.

    Returns
    -------
    explorer : Explorer
        The page. It has `path` and `html`, and shows itself in a notebook.

    Raises
    ------
    ValueError
        If what is given does not fit the rows, there is no embedder to show, or
        `max_bytes` is too small for what every row has.

    TypeError
        If a parameter has another type than is said here.

    FileNotFoundError
        If the folder of `path` does not exist.

    See Also
    --------
    OutlierScoreDisplay, ExplanationDisplay : Pictures of scores and of reasons.

    Notes
    -----
    Names, labels, metadata and ids are shown as text, whatever they hold: nothing in
    them can become markup or a script. A download starts no cell of text with a sign
    that a spreadsheet takes for a formula. The policy of the page forbids every
    request. A reader of the page sees the data that it shows, so share it as you would
    share these.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from latentsk import explore
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> explorer = explore(X, labels=y, path=None)
    >>> explorer.html[:15]
    '<!doctype html>'
    """
    if not isinstance(max_bytes, Integral) or max_bytes < 1:
        raise ValueError(f"max_bytes must be a positive integer, got {max_bytes!r}.")
    target = None if path is None else Path(path)
    if target is not None:
        check_target(target)
    request = Request(
        embedder=embedder,
        detector=detector,
        index=index,
        labels=labels,
        images=images,
        metadata=metadata,
        ids=ids,
        projection=projection,
        duplicate_threshold=duplicate_threshold,
        random_state=random_state,
    )
    explorer = _explorer(X, request, title, target, int(max_bytes))
    if target is not None:
        with atomic_file(target) as file:
            file.write(explorer.html.encode("utf-8"))
    return explorer


@fork_safe
def _explorer(
    X: Any, request: Request, title: str | None, path: Path | None, max_bytes: int
) -> Explorer:
    contents = gather(X, request)
    if title is None:
        models = contents.models
        every = (models.scorer, models.embedder, models.index)
        shown = next(model for model in every if model is not None)
        title = type(last_step(shown)).__name__
    # The page itself, and the element that each section is in.
    empty = len(page_of({}).encode("utf-8")) + 1_000
    try:
        sections = sections_of(contents, title, max_bytes - empty)
    except TooLarge as error:
        raise ValueError(
            f"max_bytes must be at least {empty + error.n_bytes:,} for the positions, "
            f"scores, neighbours and reasons of {contents.n_rows:,} rows, got "
            f"{max_bytes:,}. Raise it, or show fewer rows."
        ) from None
    return Explorer(page_of(sections), path)
