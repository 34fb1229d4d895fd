"""The package's layers: a module imports only what lies below it."""

import ast
from pathlib import Path

import latentsk

ROOT = Path(latentsk.__file__).parent

# From the ground up; a module belongs to the first layer whose name it starts with.
LAYERS = [
    "latentsk._version",
    "latentsk._device",
    "latentsk._chunks",
    "latentsk._chunks",
    "latentsk._faiss",
    "latentsk._threads",
    "latentsk.exceptions",
    "latentsk._typing",
    "latentsk._validation",
    "latentsk._warnings",
    "latentsk._random",
    "latentsk._format",
    "latentsk._tables",
    "latentsk._values",
    "latentsk._schema",
    "latentsk._sklearn_parts",
    "latentsk._state",
    "latentsk._threshold",
    "latentsk._progress",
    "latentsk.modules.mlp",
    "latentsk.modules.likelihoods",
    "latentsk.modules.conv",
    "latentsk.modules.own",
    "latentsk.modules.autoencoder",
    "latentsk.modules.vae",
    "latentsk.modules",
    "latentsk.training.objectives",
    "latentsk.training.variational",
    "latentsk.training.step",
    "latentsk.training.density_derivatives",
    "latentsk.training.dense",
    "latentsk.training.vae_gradient",
    "latentsk.training.acceleration",
    "latentsk.training.batches",
    "latentsk.training.inference",
    "latentsk.training.schedules",
    "latentsk.training.loop",
    "latentsk.training.stopping",
    "latentsk.training.checkpoint",
    "latentsk.training.threads",
    "latentsk.training.run",
    "latentsk.training.vae_task",
    "latentsk.training.vae_sampling",
    "latentsk.training",
    "latentsk.embedders._blocks",
    "latentsk.embedders._moments",
    "latentsk.embedders._spectrum",
    "latentsk.embedders._engine",
    "latentsk.embedders._linear_gaussian",
    "latentsk.embedders._onnx",
    "latentsk.embedders._base",
    "latentsk.embedders._pca",
    "latentsk.embedders._standardize",
    "latentsk.embedders._identity",
    "latentsk.embedders._network",
    "latentsk.embedders._rows",
    "latentsk.embedders._neural",
    "latentsk.embedders._autoencoder",
    "latentsk.embedders._latents",
    "latentsk.embedders._paths",
    "latentsk.embedders._vae",
    "latentsk.embedders._files",
    "latentsk.embedders",
    "latentsk.index._buffers",
    "latentsk.index._rows",
    "latentsk.index._rounding",
    "latentsk.index._metric",
    "latentsk.index._fast_rows",
    "latentsk.index._quantized",
    "latentsk.index._candidates",
    "latentsk.index._spec",
    "latentsk.index._cost",
    "latentsk.index._exact",
    "latentsk.index._search",
    "latentsk.index._device_search",
    "latentsk.index._codebook",
    "latentsk.index._inverted_lists",
    "latentsk.index._projection",
    "latentsk.index._ivf_search",
    "latentsk.index._recall",
    "latentsk.index._tuning",
    "latentsk.index._ivf_tuning",
    "latentsk.index._memory",
    "latentsk.index._building",
    "latentsk.index._forest",
    "latentsk.index._cells",
    "latentsk.index._duplicates",
    "latentsk.index._embedding",
    "latentsk.index._engine",
    "latentsk.index._files",
    "latentsk.index._lock",
    "latentsk.index._latent_index",
    "latentsk.index._neighbors_transformer",
    "latentsk.index",
    "latentsk.outliers.conformal",
    "latentsk.outliers.calibration",
    "latentsk.outliers.ellipsoid",
    "latentsk.outliers.neighborhood",
    "latentsk.outliers.steps",
    "latentsk.outliers.row_keys",
    "latentsk.outliers.latent_space",
    "latentsk.outliers.concentration",
    "latentsk.outliers.attribution",
    "latentsk.outliers.reasons",
    "latentsk.outliers.decisions",
    "latentsk.outliers.detector",
    "latentsk.outliers.pyod",
    "latentsk.outliers._files",
    "latentsk.outliers",
    "latentsk._storable",
    "latentsk._writing",
    "latentsk._reading",
    "latentsk.persistence",
    "latentsk.display._axes",
    "latentsk.display._numbers",
    "latentsk.display._bins",
    "latentsk.display.explanation",
    "latentsk.display.outlier_scores",
    "latentsk.display",
    "latentsk",
]


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(name):
    return min(i for i, prefix in enumerate(LAYERS) if name.startswith(prefix))


FILES = {module_name(path): path for path in ROOT.rglob("*.py")}


def test_every_module_has_a_layer_of_its_own():
    assert {LAYERS[layer(name)] for name in FILES} == set(FILES) == set(LAYERS)


def test_imports_run_downward_only():
    upward = [
        (name, imported)
        for name, path in FILES.items()
        for imported in imported_modules(path)
        if imported.startswith("latentsk") and layer(imported) >= layer(name)
    ]
    assert upward == []


def test_the_index_does_not_know_embedders():
    for name, path in FILES.items():
        if name.startswith("latentsk.index"):
            assert not any("embedders" in module for module in imported_modules(path))


def test_faiss_is_imported_in_one_place():
    importers = {n for n, path in FILES.items() if "faiss" in imported_modules(path)}
    assert importers == {"latentsk._faiss"}
