"""From nodes to estimators, of which nothing is believed unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from torch import nn

from latentsk._sklearn_parts import load_part
from latentsk._storable import (
    CONTAINERS,
    KIND,
    LEFT_OUT,
    STORABLE,
    check_parameters,
)
from latentsk._values import ArrayStore, decode_value
from latentsk._version import __version__
from latentsk.embedders._files import check_weights, require_modules
from latentsk.exceptions import FormatError
from latentsk.index import LatentIndex
from latentsk.index._files import from_file

MAX_DEPTH = 50
# Of scikit-learn's set_output.
OUTPUTS = ("default", "pandas", "polars")
# Under which parameter the modules of a part are named.
_PREFIXES = {"embedder_": "embedder__", "detector_": "detector__"}


class Reader:
    """The estimators of a document.

    Parameters
    ----------
    store : ArrayStore
        The arrays of the file, which are taken out.

    modules : dict of str to nn.Module
        Given by the caller, by the parameter that they are.

    device : str or None
        Of every estimator that has one; None: what the file says.
    """

    def __init__(
        self, store: ArrayStore, modules: dict[str, nn.Module], device: str | None
    ) -> None:
        self.store = store
        self.modules = modules
        self.used: set[str] = set()
        self.device = device
        self.known: dict[int, Any] = {}

    def root(self, document: Mapping[str, Any]) -> Any:
        """Return the estimator that a document describes."""
        kind = document.get("kind")
        if kind == "LatentIndex":
            raise FormatError(
                "The file was written by LatentIndex.save, without an embedder: read "
                "it with LatentIndex.load."
            )
        if kind != KIND:
            raise FormatError("The file holds no estimator.")
        estimator = self.node(document.get("estimator"), "", 0)
        if self.store.left():
            raise FormatError("The file is altered: it has arrays too many.")
        unused = sorted(self.modules.keys() - self.used)
        if unused:
            raise ValueError(
                f"The estimator in the file takes no module {unused[0]!r}."
            )
        try:
            check_is_fitted(estimator)
        except (NotFittedError, TypeError) as error:
            raise FormatError("The file is altered: no state is there.") from error
        return estimator

    def node(self, node: Any, prefix: str, depth: int) -> Any:
        """Return the estimator of a node; `prefix` is that of its parameters."""
        if depth > MAX_DEPTH:
            raise FormatError("The file is altered: estimators lie too deep.")
        match node:
            case {"same": int(number), **rest} if not rest and number in self.known:
                return self.known[number]
            case {"class": str(name), "number": int(number), **rest}:
                if number in self.known:
                    raise FormatError("The file is altered: a number occurs twice.")
                output = rest.pop("output", None)
                estimator = self._estimator(name, rest, prefix, depth + 1)
                if output is not None:
                    _set_output(estimator, output)
                self.known[number] = estimator
                return estimator
        raise FormatError("The file is altered: an estimator is not described.")

    def _estimator(
        self, name: str, node: dict[Any, Any], prefix: str, depth: int
    ) -> Any:
        match node:
            case {"skops": content, **rest} if not rest:
                part = load_part(self.store.take(content))
                if type(part).__name__ != name:
                    raise FormatError(
                        f"The file is altered: no {name[:50]!r} is there."
                    )
                return part
            case {"document": dict(document), "arrays": arrays, **rest}:
                if name == "LatentIndex":
                    return self._index(document, arrays, rest, prefix, depth)
            case {"parameters": dict(parameters), "state": dict(), "parts": dict()}:
                if name in STORABLE:
                    estimator = self._built(
                        STORABLE[name].cls, parameters, prefix, depth
                    )
                    self._restore(estimator, node, prefix, depth)
                    return estimator
            case {"parameters": dict(parameters), **rest} if not rest:
                if name in CONTAINERS:
                    return self._built(CONTAINERS[name], parameters, prefix, depth)
                if name == "LatentIndex":
                    return self._built(LatentIndex, parameters, prefix, depth)
        raise FormatError(f"The file is altered: {name[:50]!r} is unknown.")

    def _built(
        self, cls: type, parameters: dict[str, Any], prefix: str, depth: int
    ) -> Any:
        known = cls._get_param_names()  # type: ignore[attr-defined]
        unknown = sorted(parameters.keys() - set(known))
        if unknown:
            raise FormatError(
                f"{cls.__name__} has no parameter {unknown[0][:50]!r} in this latentsk "
                f"({__version__}). Install the release that wrote the file, or a newer."
            )
        values = {
            name: self._parameter(value, name, prefix, depth)
            for name, value in parameters.items()
        }
        if any(values.get(name) is not None for name in LEFT_OUT):
            raise FormatError("The file is altered: it names a path to write to.")
        if "device" in known:
            values["device"] = self._device(values.get("device", "auto"))
        try:
            estimator = cls(**values)
            check_parameters(estimator)
        except (TypeError, ValueError) as error:
            raise FormatError(f"The file is altered: {error}") from error
        return estimator

    def _parameter(self, value: Any, name: str, prefix: str, depth: int) -> Any:
        match value:
            case {"estimator": node, **rest} if not rest:
                return self.node(node, f"{prefix}{name}__", depth)
            case {"module": kind, **rest} if not rest:
                return self._module(f"{prefix}{name}", kind)
            case {"steps": list(steps), **rest} if not rest:
                return [self._step(step, prefix, depth) for step in steps]
        return decode_value(value, self.store)

    def _step(self, step: Any, prefix: str, depth: int) -> tuple[str, Any]:
        match step:
            case [str(name), None | "passthrough" as nothing]:
                return name, nothing
            case [str(name), dict(node)]:
                return name, self.node(node, f"{prefix}{name}__", depth)
        raise FormatError("The file is altered: a step is not described.")

    def _module(self, name: str, kind: Any) -> nn.Module:
        if name not in self.modules:
            raise ValueError(
                f"The file holds the weights of a network of your own, but not its "
                f"code: give the module ({str(kind)[:50]}) as "
                f"modules={{{name!r}: ...}}."
            )
        self.used.add(name)
        return self.modules[name]

    def _device(self, stored: Any) -> str:
        if self.device is not None:
            return self.device
        try:
            if type(stored) is str and (
                stored == "auto" or torch.device(stored).type in ("cpu", "cuda")
            ):
                return stored
        except RuntimeError:
            pass
        raise FormatError("The file is altered: a device is none.")

    def _restore(
        self, estimator: Any, node: Mapping[str, Any], prefix: str, depth: int
    ) -> None:
        state = {
            name: decode_value(value, self.store)
            for name, value in node["state"].items()
        }
        parts = {
            name: self.node(part, prefix + _PREFIXES.get(name, ""), depth)
            for name, part in node["parts"].items()
        }
        if not state and not parts:
            return
        STORABLE[type(estimator).__name__].check(estimator, {**state, **parts})
        vars(estimator).update(parts)
        if "module_" in state:
            weights = state["module_"]
            own = state["_architecture"]["network"] == "own"
            plain = {k: v for k, v in state.items() if k not in ("module_", "networks")}
            vars(estimator).update(plain)
            if own:
                require_modules(estimator)
            check_weights(estimator, weights, state.get("_optimizer_state"))
        estimator._set_state(state)

    def _index(
        self,
        document: dict[str, Any],
        arrays: Any,
        node: dict[str, Any],
        prefix: str,
        depth: int,
    ) -> LatentIndex:
        if not {"embedder"} <= node.keys() <= {"embedder", "embedder_"}:
            raise FormatError("The file is altered: an index is not described.")
        others = {
            "embedder": self._parameter(node["embedder"], "embedder", prefix, depth)
        }
        if self.device is not None:
            others["device"] = self.device
        embedder = None
        if "embedder_" in node:
            embedder = self.node(node["embedder_"], f"{prefix}embedder__", depth)
        lacking = embedder is not None and not hasattr(embedder, "transform")
        if lacking or (embedder is None) != (document.get("embedder") is None):
            raise FormatError("The file is altered: an index lacks its embedder.")
        found = self.store.take_group(arrays)
        return from_file(LatentIndex, document, found, others, embedder)


def _set_output(estimator: Any, kind: Any) -> None:
    """Have `transform` return what `set_output` of scikit-learn asked for."""
    if kind not in OUTPUTS or not hasattr(estimator, "set_output"):
        raise FormatError("The file is altered: an output is of no known kind.")
    estimator._sklearn_output_config = {"transform": kind}
