"""Search spaces: what may be tuned of each optimizer, in which range, and why.

A user's own space is a Python file that a campaign names with ``file = "my_space.py"`` under
``[search_space.<optimizer>]``. It defines ``SPACE``:

```python
from search_spaces import Parameter, SearchSpace

SPACE = SearchSpace(
    optimizer="sgd",
    declared={
        "lr": Parameter.log(1e-3, 1.0, default=0.1, reason="What worked last year."),
        "momentum": Parameter.one_minus_log(0.5, 0.99, default=0.9, reason="Searched as 1 − momentum."),
        "batch_size": Parameter.integer(32, 128, log=True, default=64, reason="Fits our machine."),
    },
)
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from search_spaces import (
    adahessian,
    adam,
    adamw,
    ademamix,
    lbfgs,
    lion,
    muon,
    nadamw,
    nystrom_sgd,
    prodigy,
    schedule_free_adamw,
    sgd,
    shampoo,
    soap,
    sofim,
    sophia,
)
from search_spaces._base import BATCH_SIZE, OF_TRAINING, WARMUP, Build, SearchSpace
from search_spaces._conditional import ANY, OPTIMIZER, ConditionalSpace, Space
from search_spaces._custom import CustomSpace, custom_space
from search_spaces._declared import DeclaredArguments, check_arguments
from search_spaces._file import FileArguments, load_file
from search_spaces._key import configuration_key
from search_spaces._parameter import FEWEST_TRIALS, Interval, Parameter, Scale, Value, fewest_trials
from search_spaces._ranges import Decay
from search_spaces.errors import UserError, shown, suggestion

__all__ = [
    "ANY",
    "BATCH_SIZE",
    "FEWEST_TRIALS",
    "OF_TRAINING",
    "OPTIMIZER",
    "SEARCH_SPACES",
    "WARMUP",
    "ConditionalSpace",
    "CustomSpace",
    "Decay",
    "Interval",
    "Parameter",
    "Scale",
    "SearchSpace",
    "Space",
    "UserError",
    "Value",
    "check_arguments",
    "configuration_key",
    "configured",
    "custom_space",
    "fewest_trials",
    "from_dict",
    "stored_space",
]

SEARCH_SPACES: Mapping[str, SearchSpace] = {
    space.optimizer: space
    for space in (
        sofim.SPACE,
        sgd.SPACE,
        adam.SPACE,
        adamw.SPACE,
        adahessian.SPACE,
        lbfgs.SPACE,
        nystrom_sgd.SPACE,
        muon.SPACE,
        schedule_free_adamw.SPACE,
        prodigy.SPACE,
        sofim.GRADIENT,
        sofim.TENSOR,
        nadamw.SPACE,
        soap.SPACE,
        shampoo.SPACE,
        lion.SPACE,
        ademamix.SPACE,
        sophia.SPACE,
    )
}
"""The search space of each optimizer, by the optimizer's key."""


def configured(
    optimizer: str,
    table: Mapping[str, object],
    *,
    directory: Path | None = None,
    decay: Decay | None = None,
    custom: CustomSpace | None = None,
) -> SearchSpace:
    """Return the search space of ``optimizer`` as a campaign's ``[search_space.<optimizer>]`` table wants it.

    Args:
        optimizer: A key of `SEARCH_SPACES`, or that of an optimizer of one's own.
        table: What `SearchSpace.override` takes, and ``file``: a Python file with the user's own space, to which the
            other keys are then applied.
        directory: Where a relative ``file`` is looked for; the working directory when ``None``.
        decay: Where weight decay acts, if the optimizer can do both; ``None``: as it does of itself.
        custom: Of an optimizer of one's own, what is known of its space besides.

    Raises:
        UserError: The optimizer or a key is unknown, or a value is not allowed.
    """
    settings = dict(table)
    if custom is None and optimizer not in SEARCH_SPACES:
        known = ", ".join(SEARCH_SPACES)
        raise UserError(
            f"{shown(optimizer)} has no search space: known are {known}{suggestion(optimizer, SEARCH_SPACES)}"
        )
    if "file" in settings:
        file = settings.pop("file")
        if not isinstance(file, str) or not file:
            raise UserError(f"file = {shown(file)} is not a path: allowed is a Python file that defines SPACE")
        if custom is not None and custom.arguments:
            raise UserError(
                f"file = {shown(file)}: its SPACE makes the arguments, and so does arguments: leave one out"
            )
        space = load_file(optimizer, (directory or Path()).joinpath(file).absolute())
    elif custom is not None:
        return custom_space(optimizer, settings, custom)
    else:
        space = SEARCH_SPACES[optimizer]
    if "parameterization" in settings:  # which the range of the decay comes after, and a person's before
        space = space.switched(settings.pop("parameterization"))
    return (space if decay is None else space.with_decay(decay)).override(settings)


def from_dict(data: Mapping[str, object]) -> SearchSpace:
    """Return the space that `SearchSpace.to_dict` described, with the ranges as they were then.

    The mapping to the optimizer's arguments is code and comes from the present table, or from the user's file; of an
    optimizer of one's own it is stored as data.

    Raises:
        UserError: Nothing here knows the optimizer or the parameterization.
    """
    optimizer, parameterization = cast("str", data["optimizer"]), cast("str", data["parameterization"])
    parameters = cast("Mapping[str, Mapping[str, object]]", data["parameters"])
    file = cast("Mapping[str, str] | None", data["file"])
    build: Build
    if file is not None:
        build = FileArguments(optimizer, file["path"], file["sha256"])
    elif "arguments" in data:
        build = DeclaredArguments(cast("Mapping[str, object]", data["arguments"]))
    elif optimizer not in SEARCH_SPACES:
        raise UserError(
            f"the stored space is for {shown(optimizer)}, which is unknown: was it stored by another version?"
        )
    else:
        build = SEARCH_SPACES[optimizer].switched(parameterization).build
    return SearchSpace(
        optimizer=optimizer,
        parameterization=parameterization,
        declared={name: Parameter.from_dict(fields) for name, fields in parameters.items()},
        fixed=cast("Mapping[str, Value]", data["fixed"]),
        build=build,
        file=file,
        fixed_below=cast("Mapping[str, int]", data.get("fixed_below", {})),
        decays=tuple(cast("Sequence[Decay]", data.get("decays", ()))),
        of_function=data.get("of_function") is True,
    )


def stored_space(data: Mapping[str, object]) -> Space:
    """Return the space that `SearchSpace.to_dict` or `ConditionalSpace.to_dict` described.

    Raises:
        UserError: As of `from_dict`.
    """
    spaces = cast("Mapping[str, Mapping[str, object]] | None", data.get("spaces"))
    if spaces is None:
        return from_dict(data)
    return ConditionalSpace({optimizer: from_dict(space) for optimizer, space in spaces.items()})
