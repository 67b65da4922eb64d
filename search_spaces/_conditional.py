"""A space whose first choice is the optimizer, on which all other parameters depend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from search_spaces._base import SearchSpace
from search_spaces._parameter import Parameter, Value
from search_spaces.errors import UserError, shown, suggestion

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ANY = "any"
"""What stands for the optimizer where a study chooses it."""

OPTIMIZER = "optimizer"
"""The name of the parameter that chooses it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ConditionalSpace:
    """The spaces of several optimizers as one: ``optimizer`` first, then ``{optimizer}.{parameter}`` of that one alone.

    Args:
        spaces: By the optimizer's key, in the order of the choices; the first is the default.

    Raises:
        UserError: There is no space.

    >>> from search_spaces import SEARCH_SPACES
    >>> space = ConditionalSpace(SEARCH_SPACES)
    >>> list(space.stored_distributions({"optimizer": "sgd"}))
    ['optimizer', 'sgd.lr', 'sgd.momentum', 'sgd.weight_decay', 'sgd.batch_size']
    """

    spaces: Mapping[str, SearchSpace]

    optimizer: ClassVar[str] = ANY
    conditional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.spaces:
            raise UserError("a conditional space needs at least one optimizer")

    @property
    def choice(self) -> Parameter:
        """The parameter that chooses the optimizer."""
        names = list(self.spaces)
        return Parameter.categorical(names, default=names[0], reason="The optimizers that one study chooses from.")

    @property
    def default(self) -> dict[str, Value]:
        """The default configuration of the first optimizer."""
        first = next(iter(self.spaces))
        return self.of(first, self.spaces[first].default)

    @staticmethod
    def of(optimizer: str, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return the configuration here that is ``params`` in the optimizer's own space, on the same scale."""
        return {OPTIMIZER: optimizer, **_prefixed(optimizer, params)}

    def optimizer_of(self, params: Mapping[str, Value], /) -> str:
        """Return the key of the optimizer that a configuration is of.

        Raises:
            UserError: None of the space's is chosen.
        """
        chosen = params.get(OPTIMIZER)
        if not isinstance(chosen, str) or chosen not in self.spaces:
            near = suggestion(chosen, self.spaces) if isinstance(chosen, str) else ""
            raise UserError(f"{OPTIMIZER} = {shown(chosen)}: must be one of {', '.join(self.spaces)}{near}")
        return chosen

    def chooses_batch_size(self, _params: Mapping[str, Value], /) -> bool:
        """Return that nobody has to use the batch size: who searches in this way has nowhere to fix it."""
        return False

    def stored_distributions(self, given: Mapping[str, Value] | None = None, /) -> dict[str, BaseDistribution]:
        """Return the distributions of the stored values; without an optimizer in ``given`` that of the choice alone."""
        found: dict[str, BaseDistribution] = {OPTIMIZER: self.choice.distribution}
        if given and OPTIMIZER in given:
            chosen = self.optimizer_of(given)
            found |= _prefixed(chosen, self.spaces[chosen].stored_distributions())
        return found

    def search_distributions(self, given: Mapping[str, Value] | None = None, /) -> dict[str, BaseDistribution]:
        """Return the distributions that samplers see; without an optimizer in ``given`` that of the choice alone."""
        found: dict[str, BaseDistribution] = {OPTIMIZER: self.choice.search_distribution}
        if given and OPTIMIZER in given:
            chosen = self.optimizer_of(given)
            found |= _prefixed(chosen, self.spaces[chosen].search_distributions())
        return found

    def nearest(self, stored: Mapping[str, Value], /) -> dict[str, Value]:
        """Return the searched part of a stored configuration, each value moved into its range, missing ones default."""
        chosen, own = self._split(stored)
        return self.of(chosen, self.spaces[chosen].nearest(own))

    def encode(self, stored: Mapping[str, Value], /) -> dict[str, Value]:
        """Return the search values of a stored configuration; fixed values may be left out and are dropped.

        Raises:
            UserError: No optimizer is chosen, a name is unknown, another optimizer's or missing, or a value lies
                outside its range.
        """
        chosen, own = self._split(stored)
        return self.of(chosen, self.spaces[chosen].encode(own))

    def decode(self, search: Mapping[str, Value], /) -> dict[str, Value]:
        """Return the stored values of a sampler's configuration.

        Raises:
            UserError: No optimizer is chosen, or a name is unknown, another optimizer's or missing.
        """
        chosen, own = self._split(search)
        return self.of(chosen, self.spaces[chosen].decode(own))

    def arguments(self, stored: Mapping[str, Value], /) -> dict[str, object]:
        """Return what to train with: ``batch_size`` and exactly the keyword arguments of the chosen one's factory.

        Raises:
            UserError: As of `encode`, but for values outside their range.
        """
        chosen, own = self._split(stored)
        return self.spaces[chosen].arguments(own)

    def to_dict(self) -> dict[str, object]:
        """Return the space as JSON can hold it: as a `SearchSpace` does, and ``spaces`` by optimizer besides."""
        declared: dict[str, object] = {OPTIMIZER: self.choice.to_dict()}
        fixed: dict[str, Value] = {}
        for optimizer, space in self.spaces.items():
            declared |= _prefixed(optimizer, {name: parameter.to_dict() for name, parameter in space.declared.items()})
            fixed |= _prefixed(optimizer, space.fixed)
        return {
            "optimizer": self.optimizer,
            "parameterization": "conditional",
            "parameters": declared,
            "fixed": fixed,
            "file": None,
            "spaces": {optimizer: space.to_dict() for optimizer, space in self.spaces.items()},
        }

    def _split(self, params: Mapping[str, Value]) -> tuple[str, dict[str, Value]]:
        """Return the chosen optimizer, and the configuration in its own space."""
        chosen = self.optimizer_of(params)
        prefix = f"{chosen}."
        strangers = [name for name in params if name != OPTIMIZER and not name.startswith(prefix)]
        if strangers:
            raise UserError(f"{', '.join(strangers)} not of {chosen}: its parameters are called {prefix}…")
        return chosen, {name.removeprefix(prefix): value for name, value in params.items() if name != OPTIMIZER}


def _prefixed(optimizer: str, entries: Mapping[str, _T]) -> dict[str, _T]:
    return {f"{optimizer}.{name}": entry for name, entry in entries.items()}


Space = SearchSpace | ConditionalSpace
"""What a study searches."""
