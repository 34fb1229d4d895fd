"""From nodes to fitted objects, of which nothing is believed unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentsk._version import __version__
from latentsk.exceptions import FormatError
from latentsk.persistence._registry import Entry, entry_named
from latentsk.persistence._schema import device, either, format_errors, require, text
from latentsk.persistence._sklearn_parts import load_part
from latentsk.persistence._values import ArrayStore, decode_value, refuse_document
from latentsk.persistence._writer import Node

# Of scikit-learn's set_output.
OUTPUTS = ("default", "pandas", "polars")
# Each counted as often as it occurs; a large model has some hundred.
MAX_OBJECTS = 100_000


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
        self._sizes: dict[int, int] = {}
        self._n_objects = 0

    def node(self, node: Any, depth: int = 0) -> Any:
        """Return the object of a node, which lies so many values deep.

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
                self._count(self._sizes[number])
                return self._known[number]
            case {"class": str(name), "number": int(number), **content}:
                require(number not in self._known, "a number occurs twice")
                before = self._n_objects
                self._count(1)
                self._known[number] = self._built(name, content, depth)
                self._sizes[number] = self._n_objects - before
                return self._known[number]
        raise FormatError("The file is altered: an object is not described.")

    def _count(self, n_objects: int) -> None:
        """Count objects as often as they occur: a walk through them must end."""
        self._n_objects += n_objects
        require(self._n_objects <= MAX_OBJECTS, "it holds too many objects")

    def _built(self, name: str, content: dict[Any, Any], depth: int) -> Any:
        if content.keys() == {"skops"}:
            part = load_part(decode_value(content["skops"], self.store))
            require(type(part).__name__ == name, f"no {name[:50]!r} is there")
            return part
        entry = entry_named(name)
        parts = {"parameters", "output", "state"} if entry.is_estimator else {"state"}
        require(content.keys() == parts, f"a {name} is not described")
        if entry.is_estimator:
            return self._estimator(entry, depth, **content)
        state = self._values(content["state"], depth)
        with format_errors():
            return entry.restored(state)

    def _estimator(
        self, entry: Entry, depth: int, *, parameters: Any, output: Any, state: Any
    ) -> Any:
        values = self._values(parameters, depth)
        self._check_names(entry, values)
        if "device" in entry.cls._get_param_names():
            values["device"] = self._device_of(values.get("device", "auto"))
        with format_errors():
            estimator = entry.cls(**values)
            entry.require_parameters(estimator)
        if output is not None:
            known = output in OUTPUTS and hasattr(estimator, "set_output")
            require(known, "an output is of an unknown kind")
            estimator._sklearn_output_config = {"transform": output}
        fitted = self._values(state, depth)
        if fitted:
            entry.require_state(estimator, fitted)
            with format_errors():
                entry.restore(estimator, fitted)
        return estimator

    def _check_names(self, entry: Entry, parameters: Node) -> None:
        cls = entry.cls
        unknown = sorted(parameters.keys() - set(cls._get_param_names()))
        if unknown:
            raise FormatError(
                f"{cls.__name__} has no parameter {unknown[0][:50]!r} in this latentsk "
                f"({__version__}). Install the release that wrote the file, or a newer."
            )
        others = parameters.keys() & set(entry.machine_parameters)
        require(not others, "it sets what belongs to another machine")

    def _values(self, documents: Any, depth: int) -> Node:
        require(type(documents) is dict, "an object is not described")
        return {
            name: decode_value(document, self.store, self._object, depth)
            for name, document in documents.items()
        }

    def _object(self, document: Node, depth: int) -> Any:
        match document:
            case {"object": node}:
                return self.node(node, depth)
            case {"given": [str(name), str(kind)]}:
                if name not in self._given:
                    raise NotGivenError(name[:100], kind[:50])
                self.used.add(name)
                return self._given[name]
        return refuse_document(document)

    def _device_of(self, stored: Any) -> str:
        if self._device is not None:
            return self._device
        fits = either(text("auto"), device("cpu", "cuda")).fits
        require(fits(stored, {}), "unknown device")
        return stored
