"""What scores decide, as a module of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentsk.export._modules import constant
from latentsk.outliers._scales import LOWEST

# A score is that of the threshold, or of a calibration row, if it differs by a smaller
# share of what scores are: what rounding makes of the same row, where distances are in
# float32.
SAME_SCORE = 1e-6


class Decisions(nn.Module):
    """What scores decide.

    Parameters
    ----------
    offset : float or None
    calibration : ndarray of shape (n_calibration,) or None
        Scores in ascending order.
    """

    def __init__(self, offset: float | None, calibration: Any = None) -> None:
        super().__init__()
        known = [] if calibration is None else np.abs(calibration)
        typical = max(abs(offset or 0.0), float(np.median(known)) if len(known) else 0)
        self.has_offset = offset is not None
        self.has_calibration = calibration is not None
        if offset is not None:
            self.register_buffer("offset", constant(offset))
            self.register_buffer("same", constant(SAME_SCORE * typical))
        if calibration is not None:
            raised = calibration - SAME_SCORE * np.maximum(known, typical)
            self.register_buffer("calibration", constant(np.maximum(raised, LOWEST)))
            self.register_buffer("part", constant(1.0 / (len(calibration) + 1)))

    @property
    def methods(self) -> tuple[str, ...]:
        """The outputs that there are."""
        decided = ("decision_function", "predict") if self.has_offset else ()
        return (*decided, *(("p_values",) if self.has_calibration else ()))

    def forward(self, scores: Tensor) -> dict[str, Tensor]:
        """Return the decisions of rows."""
        scores, found = scores.double(), {}
        if self.has_offset:
            above = scores - self.get_buffer("offset")
            ones = torch.ones_like(above, dtype=torch.int64)
            is_inlier = above >= -self.get_buffer("same")
            found["decision_function"] = above
            found["predict"] = torch.where(is_inlier, ones, -ones)
        if self.has_calibration:
            as_low = self.get_buffer("calibration") <= scores[:, None]
            counts = as_low.double().sum(dim=1) + 1
            found["p_values"] = counts * self.get_buffer("part")
        return found
