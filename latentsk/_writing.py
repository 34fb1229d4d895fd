"""From estimators to nodes: JSON that names classes, and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import nn

from latentsk._sklearn_parts import dump_part
from latentsk._storable import CONTAINERS, LEFT_OUT, STORABLE, check_parameters
from latentsk._values import ArrayStore, encode_value
from latentsk.embedders._files import require_modules
from latentsk.exceptions import FormatError
from latentsk.index import LatentIndex
from latentsk.index._files import check_loose_parameters, to_file

ALTERED = "The file is altered: "


@contextmanager
def _loadable(estimator: Any) -> Iterator[None]:
    """Turn what would be wrong with a file into what is wrong with an estimator."""
    try:
        yield
    except FormatError as error:
        raise ValueError(
            f"{type(estimator).__name__} cannot be stored, as it could not be loaded. "
            f"Set it back, or fit it again: {str(error).removeprefix(ALTERED)}"
        ) from error


class Writer:
    """A tree of estimators as nodes, each estimator once.

    Parameters
    ----------
    reading : ExitStack
        Holds the locks of indexes: as long as it is open, their arrays stay.

    Attributes
    ----------
    store : ArrayStore
        The arrays of the nodes.
    """

    def __init__(self, reading: ExitStack) -> None:
        self.store = ArrayStore()
        self.reading = reading
        self.known: dict[int, tuple[int, Any]] = {}

    def node(self, estimator: Any, path: str) -> dict[str, Any]:
        """Return the node of an estimator; `path` leads the names of its arrays."""
        if id(estimator) in self.known:
            return {"same": self.known[id(estimator)][0]}
        number = len(self.known)
        self.known[id(estimator)] = number, estimator
        name = type(estimator).__name__
        node: dict[str, Any] = {"class": name, "number": number}
        output = getattr(estimator, "_sklearn_output_config", {}).get("transform")
        if output is not None:
            node["output"] = output
        if type(estimator) is LatentIndex:
            return node | self._index(estimator, path)
        if name in STORABLE and type(estimator) is STORABLE[name].cls:
            return node | self._ours(estimator, path)
        if name in CONTAINERS and type(estimator) is CONTAINERS[name]:
            check_parameters(estimator)
            return node | {"parameters": self._parameters(estimator, path)}
        if type(estimator).__module__.partition(".")[0] == "sklearn":
            content = dump_part(estimator)
            return node | {"skops": self.store.put(f"{path}skops", content)}
        raise TypeError(
            f"{name} cannot be stored: it is of another package, or your own. Use "
            "joblib for it; LatentIndex.save stores an index without its embedder."
        )

    def _ours(self, estimator: Any, path: str) -> dict[str, Any]:
        check_parameters(estimator)
        state, parts = estimator._get_state(), estimator._parts()
        parameters = self._parameters(estimator, path)
        if state or parts:
            self._require_loadable(estimator, {**state, **parts})
        return {
            "parameters": parameters,
            "state": {
                name: encode_value(value, path + name, self.store)
                for name, value in state.items()
            },
            "parts": {
                name: self.node(parts[name], f"{path}{name}/") for name in sorted(parts)
            },
        }

    def _require_loadable(self, estimator: Any, state: Mapping[str, Any]) -> None:
        with _loadable(estimator):
            STORABLE[type(estimator).__name__].check(estimator, state)
            if state.get("_architecture", {}).get("network") == "own":
                require_modules(estimator)

    def _index(self, index: LatentIndex, path: str) -> dict[str, Any]:
        node: dict[str, Any] = {"embedder": self._parameter(index, "embedder", path)}
        if not hasattr(index, "ids_"):
            parameters = self._parameters(index, path)
            return {"parameters": {**parameters, **node}}
        check_parameters(index)
        self.reading.enter_context(index._reading())
        document, arrays = to_file(index)
        with _loadable(index):
            check_loose_parameters(document["parameters"])
        embedder = getattr(index, "embedder_", None)
        if embedder is not None:
            node["embedder_"] = self.node(embedder, f"{path}embedder_/")
        return node | {
            "document": document,
            "arrays": self.store.put_group(f"{path}index", arrays),
        }

    def _parameters(self, estimator: Any, path: str) -> dict[str, Any]:
        names = sorted(estimator.get_params(deep=False))
        return {name: self._parameter(estimator, name, path) for name in names}

    def _parameter(self, estimator: Any, name: str, path: str) -> Any:
        value = getattr(estimator, name)
        generator = isinstance(value, np.random.RandomState | np.random.Generator)
        if name in LEFT_OUT or generator:
            return None
        if name == "steps":
            return {"steps": [self._step(name, step, path) for name, step in value]}
        if isinstance(value, nn.Module):
            return {"module": type(value).__name__}
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, type):
            raise TypeError(f"{name} must be an instance, got a class.")
        if hasattr(value, "get_params") or hasattr(value, "fit"):
            return {"estimator": self.node(value, f"{path}{name}/")}
        return encode_value(value, path + name, self.store)

    def _step(self, name: str, step: Any, path: str) -> list[Any]:
        if step is None or isinstance(step, str):
            return [name, step]
        return [name, self.node(step, f"{path}{quote(name, safe='')}/")]
