"""The fitted state of an estimator: taken, restored, and never left half-changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk._device import device_or_cpu, to_numpy

_TENSOR_DEVICE = "tensor_device"
_NETWORKS = "networks"


class StateMixin:
    """`_get_state` and `_set_state`, and what stands on them: pickle and rollback.

    The fitted state is every attribute whose name ends with an underscore, and those
    that `_private_state` names. Its values are JSON-able, numpy arrays, tensors,
    networks, or estimators; the last are *parts* with a state of their own. Of a
    network the weights are kept; `_rebuild_network` makes one to put them into.
    """

    # Attributes that are rebuilt from the state when they are needed.
    _derived_state: tuple[str, ...] = ()
    # Attributes that belong to a fit, and that only a pickle can hold.
    _pickled_state: tuple[str, ...] = ()
    # Attributes that are NamedTuples of arrays and numbers; their state is a dict.
    _records: dict[str, Callable[..., Any]] = {}
    # Provided by estimators with networks: one like the fitted one, in its place.
    _rebuild_network: Callable[[], nn.Module]

    def _fitted(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") or name in self._private_state  # type: ignore
        }

    def _parts(self) -> dict[str, Any]:
        """Return the fitted estimators within this one."""
        return {
            name: value
            for name, value in self._fitted().items()
            if hasattr(value, "get_params")
        }

    def _get_state(self) -> dict[str, Any]:
        """Return the fitted state, without parts, as JSON-able values and arrays."""
        parts = self._parts()
        fitted = {k: v for k, v in self._fitted().items() if k not in parts}
        networks = [k for k, v in fitted.items() if isinstance(v, nn.Module)]
        devices = {str(v.device) for v in fitted.values() if torch.is_tensor(v)}
        state = {name: _plain(value) for name, value in fitted.items()}
        if networks:
            state[_NETWORKS] = networks
        if devices:
            # Array API dispatch keeps all fitted arrays on the device of the data.
            (state[_TENSOR_DEVICE],) = devices
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        """Restore what `_get_state` returned; tensors go to their device or the CPU."""
        state = dict(state)
        weights = {name: state.pop(name) for name in state.pop(_NETWORKS, ())}
        device = state.pop(_TENSOR_DEVICE, None)
        if device is not None:
            target = device_or_cpu(device)
            for name, value in state.items():
                if isinstance(value, np.ndarray) and value.dtype != object:
                    # In its own order, or sums over it would be rounded otherwise.
                    own = torch.from_numpy(np.array(value, order="K"))
                    state[name] = own.to(target)
        for name in self._records.keys() & state.keys():
            state[name] = self._records[name](**state[name])
        vars(self).update(state)
        for name, arrays in weights.items():
            network = self._rebuild_network()
            tensors = {
                key: torch.tensor(part) if isinstance(part, np.ndarray) else part
                for key, part in arrays.items()
            }
            network.load_state_dict(tensors)
            setattr(self, name, network)

    def __getstate__(self) -> dict[str, Any]:
        handled = {*self._fitted(), *self._derived_state} - self._parts().keys()
        rest = {k: v for k, v in vars(self).items() if k not in handled}
        return {"attributes": rest, "fitted": self._get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._set_state(state["fitted"])

    def _drop(self, *names: str) -> None:
        """Delete attributes, as far as they are there."""
        for name in names:
            vars(self).pop(name, None)

    def _reset(self) -> None:
        """Drop the fitted state, but for what validation has just set."""
        for name in self._fit_attributes():
            if name not in ("n_features_in_", "feature_names_in_"):
                delattr(self, name)

    @contextmanager
    def _rollback_on_error(self) -> Iterator[None]:
        """Put the fitted state back as it was if the block raises.

        Nothing else is touched: scikit-learn's callbacks keep their own attributes.
        """
        before = self._fit_attributes()
        try:
            yield
        except BaseException:
            for name in self._fit_attributes():
                delattr(self, name)
            vars(self).update(before)
            raise

    def _fit_attributes(self) -> dict[str, Any]:
        names = {*self._derived_state, *self._pickled_state}
        others = {name: vars(self)[name] for name in names if name in vars(self)}
        return {**self._fitted(), **others}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(field) for name, field in value._asdict().items()}
    if torch.is_tensor(value):
        return to_numpy(value)
    if isinstance(value, nn.Module):
        parts = value.state_dict().items()  # of tensors, and extra state
        return {k: to_numpy(v) if torch.is_tensor(v) else v for k, v in parts}
    return value.item() if isinstance(value, np.generic) else value
