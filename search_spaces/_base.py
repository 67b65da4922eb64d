"""A search space: the parameters of one optimizer, their defaults, and how they become its arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from search_spaces._declared import DeclaredArguments
from search_spaces._override import override
from search_spaces._parameter import COUNT, FEWEST_TRIALS, Interval, Parameter, Value
from search_spaces._ranges import DECAY_RANGES, DECOUPLED, Decay, warmup
from search_spaces.errors import UserError, key_shown, shown, suggestion

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

BATCH_SIZE = "batch_size"
"""The name of the batch size, a parameter of every space."""

WARMUP = "schedule.warmup"
"""The name of a searched warm-up: no optimizer's argument, since none can have a dot."""

OF_TRAINING = (BATCH_SIZE, WARMUP)
"""What `SearchSpace.arguments` holds for the training loop; all else is for the optimizer's factory."""

WEIGHT_DECAY = "weight_decay"
DECOUPLED_DECAY = "decoupled_weight_decay"
"""The factory's argument, as torch calls it, of optimizers that can do both."""

Build = Callable[[Mapping[str, Value]], dict[str, object]]
"""Makes the keyword arguments of an optimizer's factory of all stored values but the batch size."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What may be tuned of one optimizer.

    Values come on two scales, see `Parameter`: *stored* values are what the database, reports and users see; *search*
    values are what samplers see. `encode` and `decode` translate, `arguments` makes an optimizer's arguments of stored
    values.

    Args:
        optimizer: The optimizer's key, as in ``sofim.OPTIMIZERS``.
        declared: Every parameter that may be set, by its stored name; ``batch_size`` is always one.
        parameterization: Which coordinates these are; ``"default"`` means the optimizer's own arguments.
        fixed: Stored values of the parameters that are not searched. They are part of `default` and `arguments`.
        build: Makes the factory's keyword arguments (``batch_size`` left out) of all stored values.
        alternatives: Other parameterizations of the same optimizer, by name, that `override` can switch to.
        file: Where the user's own space was read from: ``{"path": …, "sha256": …}``.
        fixed_below: Those of the fixed parameters that are since the trials are few, each with the number of trials
            from which it is searched.
        of_function: These are the hyperparameters of a person's training function, whose loop is their own: there is no
            optimizer to make, and no ``batch_size`` that everything must have.
        decays: How the optimizer can apply its ``weight_decay``, the first as it does here; empty where it has none,
            or nobody says.

    Raises:
        UserError: There is no ``batch_size``, nothing is left to search, or a fixed value is not declared
            or not accepted.
    """

    optimizer: str
    declared: Mapping[str, Parameter]
    parameterization: str = "default"
    fixed: Mapping[str, Value] = field(default_factory=dict)
    build: Build = dict
    alternatives: Mapping[str, SearchSpace] = field(default_factory=dict)
    file: Mapping[str, str] | None = None
    fixed_below: Mapping[str, int] = field(default_factory=dict)
    decays: tuple[Decay, ...] = ()
    of_function: bool = False

    conditional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if BATCH_SIZE not in self.declared and not self.of_function:
            raise UserError(f"the space of {self.optimizer} has no {BATCH_SIZE}: every space needs one")
        for name, value in self.fixed.items():
            self._check_known(name)
            override(name, self.declared[name], value)
        if len(self.fixed) == len(self.declared):
            raise UserError(f"every parameter of {self.optimizer} is fixed: leave at least one to search")

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters that are searched, by stored name."""
        return MappingProxyType({name: p for name, p in self.declared.items() if name not in self.fixed})

    @property
    def default(self) -> dict[str, Value]:
        """The default configuration, stored values, fixed ones included."""
        return {name: self.fixed.get(name, parameter.default) for name, parameter in self.declared.items()}

    def chooses_batch_size(self, _params: Mapping[str, Value], /) -> bool:
        """Return whether the batch size is searched, or left at its default since trials are few: not a person's."""
        return BATCH_SIZE in self.declared and (BATCH_SIZE not in self.fixed or BATCH_SIZE in self.fixed_below)

    def optimizer_of(self, _params: Mapping[str, Value], /) -> str:
        """Return the optimizer's key, whatever the configuration: a `ConditionalSpace` has one for each."""
        return self.optimizer

    def stored_distributions(self, _given: Mapping[str, Value] | None = None, /) -> dict[str, BaseDistribution]:
        """Return the distributions of the stored values, as the database has them; no value makes a difference."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    def search_distributions(self, _given: Mapping[str, Value] | None = None, /) -> dict[str, BaseDistribution]:
        """Return the distributions that samplers see, under the same names."""
        return {name: parameter.search_distribution for name, parameter in self.parameters.items()}

    def encode(self, stored: Mapping[str, Value]) -> dict[str, Value]:
        """Return the search values of a stored configuration; fixed values may be left out and are dropped.

        Raises:
            UserError: A name is unknown or missing, or a value lies outside its range.
        """
        values = self._complete(stored)
        encoded = {}
        for name, parameter in self.parameters.items():
            try:
                encoded[name] = parameter.encode(values[name])
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        return encoded

    def decode(self, search: Mapping[str, Value]) -> dict[str, Value]:
        """Return the stored values of a sampler's configuration, each inside its stored distribution.

        Raises:
            UserError: A name is unknown or missing.
        """
        self._complete(search)
        return {name: parameter.decode(search[name]) for name, parameter in self.parameters.items()}

    def arguments(self, stored: Mapping[str, Value]) -> dict[str, object]:
        """Return what to train with: `OF_TRAINING` and exactly the keyword arguments of the optimizer's factory.

        Args:
            stored: A stored configuration; fixed values may be left out.

        Raises:
            UserError: A name is unknown or missing, or contradicts a fixed value.
        """
        values = self._complete(stored)
        of_training = {name: values.pop(name) for name in OF_TRAINING if name in values}
        return {**of_training, **self.build(values)}

    def override(self, table: Mapping[str, object]) -> SearchSpace:
        """Return this space with the changes of a campaign's ``[search_space.<optimizer>]`` table.

        Args:
            table: By parameter: ``[low, high]`` on the stored scale (β itself, not 1 − β) gives a range, a list gives
                the choices of a categorical parameter, a table says it key by key (see
                `search_spaces._override.described`), one value fixes the parameter. A parameter that was fixed is
                searched again when it is given a range. The default is clipped into a new range. The key
                ``parameterization`` first switches to other coordinates.

        Raises:
            UserError: A key is unknown or its value is not allowed; the message says what is.
        """
        settings = dict(table)
        space = self.switched(settings.pop("parameterization")) if "parameterization" in settings else self
        declared, fixed, fixed_below = dict(space.declared), dict(space.fixed), dict(space.fixed_below)
        for name, setting in settings.items():
            space._check_known(name)
            fixed_below.pop(name, None)
            changed = override(name, declared[name], setting)
            if isinstance(changed, Parameter):
                declared[name] = changed
                fixed.pop(name, None)
            else:
                fixed[name] = changed
        return dataclasses.replace(space, declared=declared, fixed=fixed, fixed_below=fixed_below)

    def fitted(self, trials: int) -> SearchSpace:
        """Return this space with no more searched than so many trials can tell apart; the rest stays at its default.

        A parameter is searched with at least as many trials as `FEWEST_TRIALS` says of its rank, and what somebody has
        given a range in any case. Where nothing would be left, the first of the ranks that there are is searched.

        Args:
            trials: Of a study; more of them free parameters in the order of their ranks, and fix none.
        """
        searched = self.parameters
        affordable = max(rank for rank, fewest in FEWEST_TRIALS.items() if fewest <= max(1, trials))
        last = max(affordable, min(parameter.rank for parameter in searched.values()))
        rest = {name: parameter for name, parameter in searched.items() if parameter.rank > last}
        return dataclasses.replace(
            self,
            fixed={**self.fixed, **{name: parameter.default for name, parameter in rest.items()}},
            fixed_below={
                **self.fixed_below,
                **{name: FEWEST_TRIALS[parameter.rank] for name, parameter in rest.items()},
            },
        )

    def with_decay(self, decay: Decay) -> SearchSpace:
        """Return this space with weight decay of that kind and its range, if the optimizer can do both kinds."""
        if decay not in self.decays[1:]:
            return self
        before = self.declared[WEIGHT_DECAY]
        declared = {
            **self.declared,
            WEIGHT_DECAY: dataclasses.replace(DECAY_RANGES[decay], rank=before.rank),
            DECOUPLED_DECAY: DECOUPLED,
        }
        fixed = {**self.fixed, DECOUPLED_DECAY: decay == "decoupled"}
        decays = (decay, *(kind for kind in self.decays if kind != decay))
        return dataclasses.replace(self, declared=declared, fixed=fixed, decays=decays)

    def with_warmup(self, low: float, high: float) -> SearchSpace:
        """Return this space with the share of the steps in which the learning rate rises as a parameter, `WARMUP`."""
        return dataclasses.replace(self, declared={**self.declared, WARMUP: warmup(low, high)})

    def capped(self, examples: int) -> SearchSpace:
        """Return this space without batches of more than ``examples``, the number that there are to train on.

        What trains the same is one value then: a larger batch size means the whole data too. A range that lies beyond
        the data becomes the upper half of what they allow; the default is clipped.
        """
        batch, fixed = self.declared[BATCH_SIZE], self.fixed.get(BATCH_SIZE)
        if fixed is not None:
            return self if isinstance(fixed, str) or fixed <= examples else self._with_batch_fixed(examples)
        if batch.scale == "categorical":
            sizes = tuple(size for size in batch.choices if isinstance(size, str) or size <= examples) or (examples,)
            if len(sizes) == len(batch.choices) and examples not in sizes:
                return self
            default = batch.default if batch.default in sizes else sizes[-1]
            changed = dataclasses.replace(batch, choices=sizes, default=default, accepts=sizes)
        elif batch.high <= examples:
            return self
        elif examples == 1:
            return self if len(self.parameters) == 1 else self._with_batch_fixed(examples)
        else:
            low = batch.low if batch.low < examples else (examples + 1) // 2
            default = min(max(batch.default, low), examples)
            changed = dataclasses.replace(
                batch, low=low, high=examples, default=default, accepts=_accepting(batch, low, examples)
            )
        return dataclasses.replace(self, declared={**self.declared, BATCH_SIZE: changed})

    def _with_batch_fixed(self, size: int) -> SearchSpace:
        """Return this space with full batches of so many examples, whatever the range that was written accepts."""
        batch = self.declared[BATCH_SIZE]
        if batch.scale == "categorical":
            choices = (*batch.choices, *(() if size in batch.choices else (size,)))
            batch = dataclasses.replace(batch, choices=choices, accepts=choices)
        else:
            batch = dataclasses.replace(batch, accepts=_accepting(batch, size))
        declared = {**self.declared, BATCH_SIZE: batch}
        return dataclasses.replace(self, declared=declared, fixed={**self.fixed, BATCH_SIZE: size})

    def nearest(self, stored: Mapping[str, Value]) -> dict[str, Value]:
        """Return the searched part of a stored configuration, each value moved into its range, missing ones default."""
        return {name: parameter.nearest(stored.get(name)) for name, parameter in self.parameters.items()}

    def to_dict(self) -> dict[str, object]:
        """Return the space as JSON can hold it, for the database; `search_spaces.from_dict` reads it again.

        Without what it says nothing of, so that spaces are as they were stored before there was such a thing.
        """
        return {
            "optimizer": self.optimizer,
            "parameterization": self.parameterization,
            "parameters": {name: parameter.to_dict() for name, parameter in self.declared.items()},
            "fixed": dict(self.fixed),
            "file": None if self.file is None else dict(self.file),
            **({"arguments": dict(self.build.table)} if isinstance(self.build, DeclaredArguments) else {}),
            **({"fixed_below": dict(self.fixed_below)} if self.fixed_below else {}),
            **({"decays": list(self.decays)} if self.decays else {}),
            **({"of_function": True} if self.of_function else {}),
        }

    def switched(self, name: object) -> SearchSpace:
        """Return the space of the same optimizer in the parameterization ``name``.

        Raises:
            UserError: There is none of that name.
        """
        if name == self.parameterization:
            return self
        if not isinstance(name, str) or name not in self.alternatives:
            known = [self.parameterization, *self.alternatives]
            near = suggestion(name, known) if isinstance(name, str) else ""
            raise UserError(f"parameterization = {shown(name)} is unknown: allowed is {', '.join(known)}{near}")
        return self.alternatives[name]

    def _check_known(self, name: str) -> None:
        if name not in self.declared:
            known = list(self.declared)
            raise UserError(
                f"{key_shown(name)} is no parameter of {self.optimizer}: "
                f"allowed are {', '.join(known)}{suggestion(name, known)}"
            )

    def _complete(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return ``values`` with the fixed ones added, in the order of the declaration, all names checked."""
        for name, value in values.items():
            self._check_known(name)
            if name in self.fixed and value != self.fixed[name]:
                raise UserError(f"{name} = {shown(value)} contradicts its fixed value {shown(self.fixed[name])}")
        missing = [name for name in self.parameters if name not in values]
        if missing:
            raise UserError(f"{', '.join(missing)} missing from the configuration {shown(dict(values))}")
        return {name: self.fixed[name] if name in self.fixed else values[name] for name in self.declared}


def _accepting(batch: Parameter, *sizes: float) -> Interval:
    """Return what of batch sizes is accepted, these included: one that lies beyond the data means all of them."""
    accepts = batch.accepts
    return accepts if isinstance(accepts, Interval) and all(size in accepts for size in sizes) else COUNT
