"""The package's rooms: imports run downward between them, and in no circle within."""

import ast
import importlib
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path

import pytest

import latentsk

ROOT = Path(latentsk.__file__).parent

# From the ground up: a room imports only those before it. A module's room is its
# folder; that of those beside the folders is "latentsk", but for those named here.
ROOMS = [
    "latentsk",
    "persistence",
    "preprocessing",
    "linear",
    "networks",
    "training",
    "vae",
    "embedders",
    "index",
    "outliers",
    "classify",
    "export",
    "display",
    "explorer",
    "distributed",
    "__init__",
]


def _name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in ROOT.rglob("*.py")}


def _room(name):
    path = FILES[name].relative_to(ROOT)
    if len(path.parts) > 1:
        return path.parts[0]
    return next((n for n in (path.name, path.stem) if n in ROOMS), "latentsk")


def _imports(path):
    """Return what a module imports, as modules where it is one of this package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


IMPORTS = {name: _imports(path) for name, path in FILES.items()}


def test_every_module_is_in_a_room():
    assert {_room(name) for name in FILES} <= set(ROOMS)


def test_imports_between_rooms_run_downward():
    rank = {name: ROOMS.index(_room(name)) for name in FILES}
    upward = [
        (name, other)
        for name, imported in IMPORTS.items()
        for other in imported & FILES.keys()
        if rank[other] > rank[name]
    ]
    assert upward == []


def test_imports_within_a_room_run_in_no_circle():
    for _, names in groupby(sorted(FILES, key=_room), _room):
        names = set(names)
        TopologicalSorter({n: IMPORTS[n] & names for n in names}).prepare()


def test_the_index_does_not_know_embedders():
    known = {n for name in FILES if _room(name) == "index" for n in IMPORTS[name]}
    assert not [name for name in known if "embedders" in name]


def test_faiss_is_imported_in_one_place():
    importers = [n for n, imported in IMPORTS.items() if "faiss" in imported]
    assert [name.split(".")[-1] for name in importers] == ["_faiss"]


@pytest.mark.parametrize("folder", ["benchmarks", "examples"])
def test_scripts_import_what_there_is(folder):
    for path in (ROOT.parent / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("latentsk"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    assert hasattr(module, alias.name) or full in FILES, (path, full)
