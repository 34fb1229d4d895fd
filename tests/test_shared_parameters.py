"""Texts of parameters that embedders share stand once, and in every docstring."""

import importlib.util
import inspect
from pathlib import Path

import pytest

import latentsk

SCRIPT = Path(__file__).parents[1] / "docs" / "shared_parameters.py"


def _script():
    spec = importlib.util.spec_from_file_location("shared_parameters", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _script()
TEXTS = script.entries(script.TEXTS.read_text(encoding="utf-8"))


def test_the_docstrings_are_up_to_date():
    for path in script.CLASSES:
        source = path.read_text(encoding="utf-8")
        texts = script.texts_for(path, TEXTS)
        assert script.rewritten(source, texts) == source, (
            f"run python docs/shared_parameters.py: {path.name} differs"
        )


@pytest.mark.parametrize(
    "name", ["AutoencoderEmbedder", "VAEEmbedder", "VQVAEEmbedder"]
)
def test_every_shared_parameter_has_its_text(name):
    cls = getattr(latentsk, name)
    documented = script.entries(inspect.getdoc(cls).replace("\n\n", "\n\n") + "\n")
    parameters = set(inspect.signature(cls).parameters)
    named = {part for names in documented for part in names.split(", ")}
    assert parameters <= named
    # Those that a class words for itself are not among the shared ones.
    for names in TEXTS:
        assert names in documented or not {*names.split(", ")} <= parameters


def test_a_stale_text_is_replaced():
    source = script.CLASSES[0].read_text(encoding="utf-8")
    stale = source.replace("    Largest norm of the gradient.", "    Something else.")
    assert stale != source
    assert script.rewritten(stale, TEXTS) == source
