"""Types of arrays that annotations share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
# Positions of rows.
Positions = NDArray[np.intp]
