"""Which classes a file may hold: each registers itself, with the rules of its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar, get_type_hints

from latentsk.exceptions import FormatError
from latentsk.persistence._schema import Rules, Sizes, State, check_state

# Refuses, with FormatError, a state whose values do not fit each other.
Check: TypeAlias = Callable[[Any, State, Sizes], None]
# How the parameters or the state of an object of another package are taken.
Take: TypeAlias = Callable[[Any], dict[str, Any]]
Class = TypeVar("Class", bound=type)

# Parameters that are paths of one machine, and are not stored.
MACHINE_PARAMETERS = ("checkpoint", "memory")
_NO_RULES: Rules = MappingProxyType({})
_entries: dict[str, Entry] = {}


class Entry(NamedTuple):
    """A class, what its state must be, and how the state is taken and restored."""

    cls: Any
    required: Rules
    optional: Rules
    check: Check | None
    check_parameters: Callable[[Any], None] | None
    get_parameters: Take | None
    get_state: Take | None
    set_state: Callable[[Any, dict[str, Any]], None] | None
    named_parts: Collection[str]
    machine_parameters: Collection[str]

    @property
    def is_estimator(self) -> bool:
        """Whether objects have parameters beside their state."""
        return hasattr(self.cls, "get_params")

    def require_parameters(self, estimator: Any) -> None:
        """Refuse parameters that a fit would refuse.

        Raises
        ------
        TypeError, ValueError
        """
        # Of the class: a FrozenEstimator shows what its estimator has.
        if hasattr(self.cls, "_parameter_constraints"):
            estimator._validate_params()
        if self.check_parameters is not None:
            self.check_parameters(estimator)

    def require_state(self, owner: Any, state: State) -> None:
        """Refuse a state that breaks the rules; `owner` has the parameters.

        Raises
        ------
        FormatError
        """
        sizes: Sizes = {}
        name = self.cls.__name__
        check_state(name, state, self.required, self.optional, sizes)
        if self.check is not None:
            self.check(owner, state, sizes)

    def parameters_of(self, estimator: Any) -> dict[str, Any]:
        """Return the parameters that are stored.

        Raises
        ------
        TypeError
            If one of them is what no file can hold.
        """
        if self.get_parameters is not None:
            found = self.get_parameters(estimator)
        else:
            names = sorted(estimator.get_params(deep=False))
            found = {name: getattr(estimator, name) for name in names}
        return {k: v for k, v in found.items() if k not in self.machine_parameters}

    def state_of(self, value: Any) -> dict[str, Any]:
        """Return the state of an object; {} of an estimator that is not fitted."""
        if self.get_state is not None:
            return self.get_state(value)
        if self.is_estimator:
            return value._get_state() if hasattr(self.cls, "_get_state") else {}
        if hasattr(self.cls, "to_state"):
            return value.to_state()
        if dataclasses.is_dataclass(self.cls):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return value._asdict()

    def restore(self, estimator: Any, state: dict[str, Any]) -> None:
        """Give an estimator its fitted state, which follows the rules."""
        if self.set_state is not None:
            self.set_state(estimator, state)
        else:
            estimator._set_state(state)

    def restored(self, state: Mapping[str, Any]) -> Any:
        """Return the object, not an estimator, that has this state.

        Raises
        ------
        FormatError, ValueError
        """
        self.require_state(self.cls, state)
        build = getattr(self.cls, "from_state", None)
        return self.cls(**state) if build is None else build(state)


def storable(
    required: Rules = _NO_RULES,
    *,
    optional: Rules = _NO_RULES,
    check: Check | None = None,
    check_parameters: Callable[[Any], None] | None = None,
    get_parameters: Take | None = None,
    get_state: Take | None = None,
    set_state: Callable[[Any, dict[str, Any]], None] | None = None,
    named_parts: Collection[str] = (),
    machine_parameters: Collection[str] = MACHINE_PARAMETERS,
) -> Callable[[Class], Class]:
    """Register a class, so that `save` and `load` take its objects.

    The rules are applied before an object is written, and to what a file claims before
    it is restored. An estimator is stored by its parameters and the state that
    :class:`~latentsk._state.StateMixin` sees. Anything else needs ``to_state()`` and a
    classmethod ``from_state(state)``; of a dataclass or NamedTuple the fields are the
    state. Values of a state are JSON-able, arrays, tables, and objects of classes that
    are registered themselves.

    Parameters
    ----------
    required, optional : mapping of str to Rule
        What each value of the state must be, in the order in which they are applied.

    check : callable, optional
        ``check(owner, state, sizes)`` raises FormatError where values do not fit each
        other. `owner` is the estimator with its parameters, not fitted yet where a file
        is read; of other objects it is the class.

    check_parameters : callable, optional
        ``check_parameters(estimator)`` raises ValueError for parameters that a fit
        would refuse, besides those that ``_parameter_constraints`` tells.

    get_parameters, get_state, set_state : callable, optional
        For classes of other packages. ``get_parameters(estimator)`` returns the
        parameters, ``get_state(value)`` the state ({} if there is none);
        ``set_state(estimator, state)`` restores that of an estimator.

    named_parts : collection of str, default=()
        Parameters and fitted attributes that are lists of tuples, each a name and an
        estimator, whose parameters get_params shows as ``<name>__<parameter>``.

    machine_parameters : collection of str, default=("checkpoint", "memory")
        Parameters that belong to a machine, and have their default after loading.

    Returns
    -------
    register : callable
        Takes a class and returns it.

    Examples
    --------
    >>> from latentsk.persistence._schema import floats
    >>> @storable({"mean": floats("k"), "scale": floats("k", least=0)})
    ... class ToyPrior(NamedTuple):
    ...     mean: Any
    ...     scale: Any
    >>> entry_named("ToyPrior").required.keys()
    dict_keys(['mean', 'scale'])
    """

    def register(cls: Class) -> Class:
        assert cls.__name__ not in _entries, "files name classes without modules"
        rules = required or _annotated_rules(cls)
        entry = Entry(
            cls,
            rules,
            optional,
            check,
            check_parameters,
            get_parameters,
            get_state,
            set_state,
            named_parts,
            machine_parameters,
        )
        _entries[cls.__name__] = entry
        return cls

    return register


def entry_of(cls: type) -> Entry | None:
    """Return the entry of this very class, or None: a subclass is another class."""
    entry = _entries.get(cls.__name__)
    return entry if entry is not None and entry.cls is cls else None


def entry_named(name: str) -> Entry:
    """Return the entry of a class that a file names.

    Raises
    ------
    FormatError
        If no such class is registered.
    """
    if name not in _entries:
        raise FormatError(f"The file is altered: the class {name[:50]!r} is unknown.")
    return _entries[name]


def _annotated_rules(cls: type) -> Rules:
    hints = get_type_hints(cls, include_extras=True)
    annotated = {k: getattr(hint, "__metadata__", ()) for k, hint in hints.items()}
    return {name: extras[0] for name, extras in annotated.items() if extras}
