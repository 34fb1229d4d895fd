"""From nodes to fitted objects, of which nothing is believed unchecked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from latentsk._version import __version__
from latentsk.exceptions import FormatError
from latentsk.persistence._registry import Entry, entry_named
from latentsk.persistence._schema import require
from latentsk.persistence._sklearn_parts import load_part
from latentsk.persistence._values import ArrayStore, decode_value, refuse_document
from latentsk.persistence._writer import MACHINE_PARAMETERS, Node

# Of scikit-learn's set_output.
OUTPUTS = ("default", "pandas", "polars")


class NotGivenError(Exception):
    """The file refers to an object that it does not hold, and that was not given.

    Parameters
    ----------
    name : str
        Of the parameter that it is.
    kind : str
        Of its class.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind


class Reader:
    """Builds objects from their nodes.

    Parameters
    ----------
    store : ArrayStore
        The arrays of the file, which are taken out.

    given : mapping of str to object
        What the file does not hold, by the parameter that it is: torch modules, say.

    device : str or None
        Of every estimator that has one; None: what the file says.

    Attributes
    ----------
    used : set of str
        Names of what was taken from `given`.
    """

    def __init__(
        self, store: ArrayStore, given: Mapping[str, Any], device: str | None
    ) -> None:
        self.store = store
        self.used: set[str] = set()
        self._given = given
        self._device = device
        self._known: dict[int, Any] = {}

    def node(self, node: Any, prefix: str = "", depth: int = 0) -> Any:
        """Return the object of a node; `prefix` leads the names of its parameters.

        Raises
        ------
        FormatError
            If no Writer has made this node.

        NotGivenError
            If something is missing in what was given.

        ValueError
            If a module that was given has other weights than the file.
        """
        match node:
            case {"same": int(number), **rest} if not rest and number in self._known:
                return self._known[number]
            case {"class": str(name), "number": int(number), **content}:
                require(number not in self._known, "a number occurs twice")
                self._known[number] = self._built(name, content, prefix, depth)
                return self._known[number]
        raise FormatError("The file is altered: an object is not described.")

    def _built(
        self, name: str, content: dict[Any, Any], prefix: str, depth: int
    ) -> Any:
        if content.keys() == {"skops"}:
            part = load_part(self.store.take(content["skops"]))
            require(type(part).__name__ == name, f"no {name[:50]!r} is there")
            return part
        entry = entry_named(name)
        parts = {"parameters", "output", "state"} if entry.is_estimator else {"state"}
        described = content.keys() == parts and type(content["state"]) is dict
        require(described, f"a {name} is not described")
        if entry.is_estimator:
            return self._estimator(entry, content, prefix, depth)
        state = self._state(content["state"], content["state"].keys(), prefix, depth)
        with _as_format_error():
            return entry.restored(state)

    def _estimator(self, entry: Entry, content: Node, prefix: str, depth: int) -> Any:
        parameters = self._parameters(entry.cls, content["parameters"], prefix, depth)
        with _as_format_error():
            estimator = entry.cls(**parameters)
            entry.require_parameters(estimator)
        if content["output"] is not None:
            known = content["output"] in OUTPUTS and hasattr(estimator, "set_output")
            require(known, "an output is of an unknown kind")
            estimator._sklearn_output_config = {"transform": content["output"]}
        names = entry.cls._get_param_names()
        state = self._state(content["state"], names, prefix, depth)
        if state:
            entry.require_state(estimator, state)
            with _as_format_error():
                estimator._set_state(state)
        return estimator

    def _parameters(self, cls: Any, found: Any, prefix: str, depth: int) -> Node:
        require(type(found) is dict, f"a {cls.__name__} has no parameters")
        names = cls._get_param_names()
        unknown = sorted(found.keys() - set(names))
        if unknown:
            raise FormatError(
                f"{cls.__name__} has no parameter {unknown[0][:50]!r} in this latentsk "
                f"({__version__}). Install the release that wrote the file, or a newer."
            )
        paths = found.keys() & set(MACHINE_PARAMETERS)
        require(not paths, "it names a path of another machine")
        parameters: Node = {}
        for name, document in found.items():
            if name == "steps":
                parameters[name] = self._steps(document, prefix, depth)
            else:
                parameters[name] = self._value(document, prefix + name, depth)
        if "device" in names:
            parameters["device"] = self._device_of(parameters.get("device", "auto"))
        return parameters

    def _steps(self, document: Any, prefix: str, depth: int) -> list[tuple[str, Any]]:
        match document:
            case {"steps": list(steps)}:
                named = all(type(s) is list and len(s) == 2 for s in steps)
                require(named, "a step is not described")
                return [
                    (name, self._value(step, f"{prefix}{name}", depth))
                    for name, step in steps
                ]
        raise FormatError("The file is altered: steps are not described.")

    def _state(
        self, found: Node, names: Collection[str], prefix: str, depth: int
    ) -> Node:
        state: Node = {}
        for name, document in found.items():
            # What a fitted part is given is what its parameter is given, and what a
            # field of another object is given has the name of the field.
            parameter = name.removesuffix("_")
            path = parameter if parameter in names else ""
            state[name] = self._value(document, prefix + path, depth)
        return state

    def _value(self, document: Any, path: str, depth: int) -> Any:
        other = partial(self._object, path=path)
        return decode_value(document, self.store, other, depth)

    def _object(self, document: Node, depth: int, path: str) -> Any:
        match document:
            case {"object": node}:
                separator = "" if path.endswith("__") or not path else "__"
                return self.node(node, path + separator, depth)
            case {"given": str(kind)}:
                if path not in self._given:
                    raise NotGivenError(path, kind[:50])
                self.used.add(path)
                return self._given[path]
        return refuse_document(document)

    def _device_of(self, stored: Any) -> str:
        if self._device is not None:
            return self._device
        try:
            known = type(stored) is str and (
                stored == "auto" or torch.device(stored).type in ("cpu", "cuda")
            )
        except RuntimeError:
            known = False
        require(known, "unknown device")
        return stored


@contextmanager
def _as_format_error() -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        raise FormatError(f"The file is altered: {error}") from error
