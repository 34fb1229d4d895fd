"""The page of parameters by subject: every parameter of a network is on it, once."""

import inspect
import re
from pathlib import Path

import pytest

import latentsk

PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "parameters.rst"
WITH_NETWORK = [
    latentsk.AutoencoderEmbedder,
    latentsk.HierarchicalVAEEmbedder,
    latentsk.VAEEmbedder,
    latentsk.VQVAEEmbedder,
]


def listed():
    """Return the names in the first column of the page's tables."""
    rows = re.findall(r"^((?:``|\*\*)\w.*?)  ", PAGE.read_text("utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"\w+", row)]


@pytest.mark.parametrize("kind", WITH_NETWORK, ids=lambda kind: kind.__name__)
def test_every_parameter_is_on_the_page(kind):
    assert set(inspect.signature(kind).parameters) - set(listed()) == set()


def test_what_is_on_the_page_is_a_parameter_and_there_once():
    known = {
        name for kind in WITH_NETWORK for name in inspect.signature(kind).parameters
    }
    assert set(listed()) - known == set()
    assert len(listed()) == len(set(listed()))
