"""Fitted objects within each other as nodes of JSON and arrays.

A node names a class and holds what its object is made of: an estimator's parameters
and state, the state of another registered class, or the bytes of one of scikit-learn's.
An object that occurs twice is one node, and a reference to it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk.exceptions import FormatError
from latentsk.persistence._registry import Entry, entry_of
from latentsk.persistence._sklearn_parts import dump_part
from latentsk.persistence._values import ArrayStore, encode_value, refuse_value

Node = dict[str, Any]


class Writer:
    """Describes objects as nodes, each object once.

    Parameters
    ----------
    held : ExitStack
        As long as it is open, the arrays of indexes do not change.

    apart : collection of str, default=()
        Parameters of the root that are left out, and the fitted parts made of them.

    Attributes
    ----------
    store : ArrayStore
        The arrays of the nodes.
    """

    def __init__(self, held: ExitStack, apart: Collection[str] = ()) -> None:
        self.store = ArrayStore()
        self._held = held
        self._apart = apart
        self._known: dict[int, tuple[int, Any]] = {}

    def node(self, value: Any, path: str = "", prefix: str = "") -> Node:
        """Return the node of an object.

        Parameters
        ----------
        value : object

        path : str, default=""
            Leads the names of its arrays.

        prefix : str, default=""
            Leads the names of its parameters, as in `get_params` of the root.

        Raises
        ------
        TypeError
            If it, or an object in it, is of no class that is stored.

        ValueError
            If it could not be loaded.
        """
        if id(value) in self._known:
            return {"same": self._known[id(value)][0]}
        number = len(self._known)
        self._known[id(value)] = number, value
        node: Node = {"class": type(value).__name__, "number": number}
        entry = entry_of(type(value))
        if entry is None:
            return node | {"skops": self._skops(value, path, prefix)}
        if hasattr(entry.cls, "_held_still"):
            self._held.enter_context(value._held_still())
        if not entry.is_estimator:
            return node | {"state": self._state(entry, value, None, path, prefix)}
        entry.require_parameters(value)
        names = value.get_params(deep=False).keys()
        output = getattr(value, "_sklearn_output_config", {})
        return node | {
            "parameters": {
                name: self._named_parts(parameter, path, prefix)
                if name in entry.named_parts
                else self._value(parameter, path + name, prefix + name)
                for name, parameter in sorted(entry.parameters_of(value).items())
            },
            "output": output.get("transform"),
            "state": self._state(entry, value, names, path, prefix),
        }

    def _state(
        self,
        entry: Entry,
        value: Any,
        names: Collection[str] | None,
        path: str,
        prefix: str,
    ) -> Node:
        state = entry.state_of(value)
        try:
            if state:
                entry.require_state(value, state)
        except FormatError as error:
            fault = str(error).removeprefix("The file is altered: ")
            raise ValueError(
                f"{type(value).__name__} cannot be stored, as it could not be loaded. "
                f"Set it back, or fit it again: {fault}"
            ) from error
        found: Node = {}
        for name in sorted(state):
            if name in entry.named_parts:
                found[name] = self._named_parts(state[name], f"{path}{name}/", prefix)
                continue
            # A fitted part is made of a parameter; the fields of other objects are all
            # named.
            made_of = name.removesuffix("_")
            named = names is None or made_of in names
            full_name = prefix + made_of if named else prefix.removesuffix("__")
            found[name] = self._value(state[name], path + name, full_name)
        return found

    def _skops(self, value: Any, path: str, prefix: str) -> Any:
        step = prefix.removesuffix("__")
        what = type(value).__name__ + f" (the part {step!r})" * bool(step)
        if type(value).__module__.partition(".")[0] == "sklearn":
            return encode_value(dump_part(value, what), f"{path}skops", self.store)
        if not hasattr(value, "fit"):
            refuse_value(value, path.rstrip("/"))
        raise TypeError(
            f"{what} cannot be stored: it is of another package, or your own. Use "
            "joblib for it, or steps of this package and of scikit-learn; a mixed "
            "table needs none, as LatentOutlierDetector's default takes it. "
            "LatentIndex.save stores an index without its embedder."
        )

    def _named_parts(self, value: Any, path: str, prefix: str) -> Any:
        # scikit-learn names the parameters of a part by the part.
        return [
            {
                "tuple": [
                    key,
                    self._value(part, path + key, prefix + key),
                    *(self._value(v, f"{path}{key}/columns", "") for v in rest),
                ]
            }
            for key, part, *rest in value
        ]

    def _value(self, value: Any, path: str, name: str) -> Any:
        if name in self._apart and value is not None:
            return {"given": [name, type(value).__name__]}
        return encode_value(value, path, self.store, partial(self._object, name=name))

    def _object(self, value: Any, path: str, name: str) -> Any:
        if isinstance(value, np.random.RandomState | np.random.Generator):
            return None
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, nn.Module):
            return {"given": [name, type(value).__name__]}
        if isinstance(value, type):
            raise TypeError(f"{path} must be an instance, got a class.")
        return {"object": self.node(value, f"{path}/", f"{name}__" if name else "")}
