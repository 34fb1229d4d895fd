"""The package's layers: a module imports only what lies below it."""

import ast
from pathlib import Path

import latentsk

ROOT = Path(latentsk.__file__).parent

# From the ground up; a module belongs to the first layer whose name it starts with.
LAYERS = [
    "latentsk._version",
    "latentsk._device",
    "latentsk.exceptions",
    "latentsk._typing",
    "latentsk._validation",
    "latentsk._warnings",
    "latentsk._random",
    "latentsk._state",
    "latentsk._threshold",
    "latentsk._progress",
    "latentsk.persistence._atomic",
    "latentsk.persistence._format",
    "latentsk.persistence._columns",
    "latentsk.persistence._tables",
    "latentsk.persistence._values",
    "latentsk.persistence._schema",
    "latentsk.persistence._registry",
    "latentsk.persistence._sklearn_parts",
    "latentsk.persistence._writer",
    "latentsk.persistence._reader",
    "latentsk.persistence._tree",
    "latentsk.persistence",
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
    "latentsk.embedders._rules",
    "latentsk.embedders._pca_state",
    "latentsk.embedders._pca",
    "latentsk.embedders._standardize",
    "latentsk.embedders._identity",
    "latentsk.embedders._network",
    "latentsk.embedders._rows",
    "latentsk.embedders._neural_state",
    "latentsk.embedders._neural",
    "latentsk.embedders._autoencoder",
    "latentsk.embedders._latents",
    "latentsk.embedders._paths",
    "latentsk.embedders._vae",
    "latentsk.embedders",
    "latentsk.index.rows",
    "latentsk.index._rounding",
    "latentsk.index._buffers",
    "latentsk.index._space",
    "latentsk.index._compact",
    "latentsk.index._faiss",
    "latentsk.index._candidates",
    "latentsk.index._device_search",
    "latentsk.index.exact",
    "latentsk.index._spec",
    "latentsk.index._cost",
    "latentsk.index._inverted_file",
    "latentsk.index._memory",
    "latentsk.index._projection",
    "latentsk.index.approximate",
    "latentsk.index.recall",
    "latentsk.index.tuning",
    "latentsk.index.duplicates",
    "latentsk.index._threads",
    "latentsk.index._embedding",
    "latentsk.index._files",
    "latentsk.index._filters",
    "latentsk.index._lock",
    "latentsk.index._building",
    "latentsk.index._changes",
    "latentsk.index._storage",
    "latentsk.index.latent_index",
    "latentsk.index.neighbors_transformer",
    "latentsk.index",
    "latentsk.outliers._magnitudes",
    "latentsk.outliers._steps",
    "latentsk.outliers._latent_rows",
    "latentsk.outliers._latent_view",
    "latentsk.outliers._row_keys",
    "latentsk.outliers._scales",
    "latentsk.outliers._neighborhood",
    "latentsk.outliers._gaussian",
    "latentsk.outliers._robust_fit",
    "latentsk.outliers._explain",
    "latentsk.outliers._decisions",
    "latentsk.outliers._decision_mixin",
    "latentsk.outliers._detector_state",
    "latentsk.outliers._detector",
    "latentsk.outliers._pyod",
    "latentsk.outliers",
    "latentsk.display._axes",
    "latentsk.display._numbers",
    "latentsk.display._bins",
    "latentsk.display._explanation",
    "latentsk.display._outlier_scores",
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
    assert importers == {"latentsk.index._faiss"}
