"""The fitted state of an estimator: taken, restored, and never left half-changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from latentsk._device import device_or_cpu, to_numpy
from latentsk._threads import fork_safe
from latentsk._validation import reject_boolean_counts

_TENSOR_DEVICE = "tensor_device"
_NETWORK = "module_"


def has_fitted_attributes(estimator: Any) -> bool:
    """Tell whether an object has attributes that end with an underscore.

    By scikit-learn's convention those are set by a fit.

    Examples
    --------
    >>> has_fitted_attributes(object())
    False
    """
    names = getattr(estimator, "__dict__", {})
    return any(n.endswith("_") and not n.startswith("_") for n in names)


class StateMixin:
    """`_get_state` and `_set_state`, and what stands on them: pickle and rollback.

    The fitted state is every attribute whose name ends with an underscore, and those
    that `_private_state` names. Its values are JSON-able, numpy arrays, tensors, tables
    or objects with a state of their own. Of the network `module_` the weights are kept;
    `_rebuild_network` makes one to put them into.
    """

    # Attributes that are rebuilt from the state when they are needed.
    _derived_state: tuple[str, ...] = ()
    # What validation sets, before a fit drops what an earlier one has left.
    _validated_state: tuple[str, ...] = ("n_features_in_", "feature_names_in_")
    # Attributes that belong to a fit, and that only a pickle can hold.
    _pickled_state: tuple[str, ...] = ()
    # Provided by estimators with a network: one like the fitted one, in its place.
    _rebuild_network: Callable[[], nn.Module]

    def _validate_params(self) -> None:
        """Validate the parameters, of which scikit-learn takes True for the count 1."""
        reject_boolean_counts(self)
        super()._validate_params()  # type: ignore[misc]

    def _fitted(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") or name in self._private_state  # type: ignore
        }

    def _get_state(self) -> dict[str, Any]:
        """Return the fitted state, with tensors as arrays and the network's weights."""
        fitted = self._fitted()
        state = {name: _plain(value) for name, value in fitted.items()}
        devices = {str(v.device) for v in fitted.values() if torch.is_tensor(v)}
        if devices:
            # Array API dispatch keeps all fitted arrays on the device of the data.
            (state[_TENSOR_DEVICE],) = devices
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        """Restore what `_get_state` returned; tensors go to their device or the CPU."""
        state = dict(state)
        weights = state.pop(_NETWORK, None)
        device = state.pop(_TENSOR_DEVICE, None)
        if device is not None:
            target = device_or_cpu(device)
            for name, value in state.items():
                if isinstance(value, np.ndarray) and value.dtype != object:
                    # In its own order, or sums over it would be rounded otherwise.
                    own = torch.from_numpy(np.array(value, order="K"))
                    state[name] = own.to(target)
        vars(self).update(state)
        if weights is not None:
            network = self._rebuild_network()
            tensors = {
                name: torch.tensor(value) if isinstance(value, np.ndarray) else value
                for name, value in weights.items()
            }
            network.load_state_dict(tensors)
            setattr(self, _NETWORK, network)

    @fork_safe
    def __getstate__(self) -> dict[str, Any]:
        handled = {*self._fitted(), *self._derived_state}
        rest = {k: v for k, v in vars(self).items() if k not in handled}
        return {"attributes": rest, "fitted": self._get_state()}

    @fork_safe
    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._set_state(state["fitted"])

    def _drop(self, *names: str) -> None:
        """Delete attributes, as far as they are there."""
        for name in names:
            vars(self).pop(name, None)

    def _reset(self) -> None:
        """Drop the fitted state, but for what validation has just set."""
        self._drop(*(self._fit_attributes().keys() - set(self._validated_state)))

    def _take_fit(self, other: StateMixin) -> None:
        """Take the fit of another estimator in place of this one's, in one step."""
        before, fit = self._fit_attributes(), other._fit_attributes()
        vars(self).update(fit)
        self._drop(*(before.keys() - fit.keys()))

    @contextmanager
    def _rollback_on_error(self) -> Iterator[None]:
        """Put the fitted state back as it was if the block raises.

        Nothing else is touched: scikit-learn's callbacks keep their own attributes.
        """
        before = self._fit_attributes()
        try:
            yield
        except BaseException:
            self._drop(*self._fit_attributes())
            vars(self).update(before)
            raise

    def _fit_attributes(self) -> dict[str, Any]:
        names = {*self._derived_state, *self._pickled_state}
        others = {name: vars(self)[name] for name in names if name in vars(self)}
        return {**self._fitted(), **others}


def _plain(value: Any) -> Any:
    if torch.is_tensor(value):
        return to_numpy(value)
    if isinstance(value, nn.Module):
        parts = value.state_dict().items()  # of tensors, and extra state
        return {k: to_numpy(v) if torch.is_tensor(v) else v for k, v in parts}
    return value.item() if isinstance(value, np.generic) else value
