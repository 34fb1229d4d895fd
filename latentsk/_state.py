"""The fitted state of an estimator: taken, restored, and never left half-changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk._device import device_or_cpu, to_numpy, to_tensor

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

    def _set_state(
        self, state: dict[str, Any], skeletons: dict[str, nn.Module] | None = None
    ) -> None:
        """Restore what `_get_state` returned; tensors go to their device or the CPU.

        The networks are built anew, but for those that are given as `skeletons`.
        """
        state = dict(state)
        skeletons = skeletons or {}
        weights = {name: state.pop(name) for name in state.pop(_NETWORKS, ())}
        device = state.pop(_TENSOR_DEVICE, None)
        if device is not None:
            target = device_or_cpu(device)
            for name, value in state.items():
                if isinstance(value, np.ndarray):
                    state[name] = to_tensor(value, target)
        vars(self).update(state)
        for name, arrays in weights.items():
            network = skeletons.get(name) or self._rebuild_network()
            tensors = {key: torch.tensor(array) for key, array in arrays.items()}
            network.load_state_dict(tensors)
            setattr(self, name, network)

    def _rebuild_network(self) -> nn.Module:
        """Return a network like the fitted one, from the rest of the state."""
        raise NotImplementedError

    def _skeletons(self) -> dict[str, nn.Module]:
        """Return the networks that only a pickle can bring back, by their names."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        handled = {*self._fitted(), *self._derived_state} - self._parts().keys()
        rest = {k: v for k, v in vars(self).items() if k not in handled}
        skeletons = self._skeletons()
        return {
            "attributes": rest,
            "fitted": self._get_state(),
            **({"skeletons": skeletons} if skeletons else {}),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._set_state(state["fitted"], state.get("skeletons"))

    def _forget(self) -> None:
        """Drop the fitted state, but for what validation has just set."""
        for name in self._fitted():
            if name not in ("n_features_in_", "feature_names_in_"):
                delattr(self, name)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Put the fitted state back as it was if the block raises.

        Nothing else is touched: scikit-learn's callbacks keep their own attributes.
        """
        before = self._fitted_and_derived()
        try:
            yield
        except BaseException:
            for name in self._fitted_and_derived():
                delattr(self, name)
            vars(self).update(before)
            raise

    def _fitted_and_derived(self) -> dict[str, Any]:
        derived = {k: v for k, v in vars(self).items() if k in self._derived_state}
        return {**self._fitted(), **derived}


def _plain(value: Any) -> Any:
    if torch.is_tensor(value):
        return to_numpy(value)
    if isinstance(value, nn.Module):
        return {name: to_numpy(part) for name, part in value.state_dict().items()}
    return value.item() if isinstance(value, np.generic) else value
