"""A campaign as a person writes it: what to tune, on what, how often and by which rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from search_spaces import Decay
from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS
from studies.campaign._checks import (
    MOST,
    SHARE,
    TARGETS,
    WHOLE_NUMBER,
    check_different,
    check_epochs,
    check_name,
    check_targets,
    check_warmup,
    one_of,
)
from studies.training.schedules import SCHEDULES

PURPOSES: Mapping[str, Mapping[str, str]] = {
    "comparison": {},
    "sensitivity": {"sampler": "qmc", "pruner": "none"},
}
"""What a campaign is for, each with what its other keys are then, unless the person says otherwise.

How much a parameter matters is told of where trials were: a sampler that learns goes where the best is, and a pruner
stops what is bad before it shows how bad.
"""
MOST_REPLICATES = 100

Names = Annotated[tuple[StrictStr, ...], Field(min_length=1), AfterValidator(check_different)]


class Campaign(BaseModel):
    """What one launches: every optimizer is tuned on every workload, ``trials`` times each.

    Each field is a key of a campaign's file, and its description says what is allowed. Whether the names mean anything
    is looked up where a `CampaignPlan` is made of it.

    Args:
        name: Part of the names of its studies.
        workloads: Keys of ``studies.workloads.WORKLOADS``, or ``"package.module:factory"`` for one's own.
        optimizers: Keys of ``sofim.OPTIMIZERS``, or of ``optimizer`` for one's own.
        trials: Number of trials of each study.
        purpose: What it is for, a key of `PURPOSES`. ``"sensitivity"`` searches the whole spaces, whatever the trials.
        sampler: Who proposes configurations.
        pruner: Who stops bad trials early. ASHA unless told otherwise: with TPE it came to the quality of 50 random
            trials in 0.31 [0.22, 0.44] of random search's epochs, in every search (``benchmarks/search.py``). Hyperband
            (0.37) and ``first-epoch`` (0.32, six searches in 100 failed) do not differ from it beyond noise.
        schedule: Of the learning rate, the same for every optimizer.
        warmup: Share of all steps in which the learning rate rises to its full value before the schedule begins, the
            same for every optimizer; or the range of it that every optimizer searches.
        decay: Where weight decay acts, in all optimizers that can do both; ``None``: in each as it does of itself.
        batch_size: Of every optimizer; ``None``: it is searched.
        seed: Of configurations, initial weights and data order.
        amp: Whether GPUs compute in bfloat16 where that is safe.
        epochs: Epoch budget of a trial, for all workloads or by workload, instead of the workload's own.
        replicates: How often every search is made, each time with other random numbers, configurations and initial
            weights alike. Each search's winner is confirmed, and optimizers are compared over the searches.
        resplit: Whether training, validation and test examples are drawn again for each replicate, from all of them: at
            random, not by class, of the same sizes and the same for all optimizers. Then what replicates differ by has
            the choice of the examples in it. A workload whose metric is one of the optimization itself keeps its
            examples, which its problem is made of.
        targets: By workload, the value of the metric that counts as reached in times to target, instead of the
            workload's own.
        search_space: Changes to the search spaces by optimizer, as in ``[search_space.<optimizer>]`` tables.
        optimizer: One's own by name, as in ``[optimizer.<name>]`` tables, see `studies.optimizers`: ``spec``, which is
            ``"module:name"`` of a row in Python; or ``factory``, ``"module:callable"``, and beside it ``arguments``,
            ``groups`` (``"module:function"``) and the fields of a row (`sofim.OptimizerSpec`) that say what it needs.

    Raises:
        pydantic.ValidationError: A field is not allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[StrictStr, AfterValidator(check_name)] = Field(description="a name of 1 to 64 characters")
    workloads: Names = Field(description='a list of workloads, such as ["digits-mlp"]')
    optimizers: Names = Field(description='a list of optimizers, such as ["sofim", "sgd"]')
    trials: StrictInt = Field(ge=1, le=MOST, description=WHOLE_NUMBER)
    purpose: Annotated[StrictStr, AfterValidator(one_of(PURPOSES))] = Field(
        "comparison", description=f"one of {', '.join(PURPOSES)}"
    )
    sampler: Annotated[StrictStr, AfterValidator(one_of(SAMPLERS))] = Field(
        "tpe", description=f"one of {', '.join(SAMPLERS)}"
    )
    pruner: Annotated[StrictStr, AfterValidator(one_of(PRUNERS))] = Field(
        "asha", description=f"one of {', '.join(PRUNERS)}"
    )
    schedule: Annotated[StrictStr, AfterValidator(one_of(SCHEDULES))] = Field(
        "constant", description=f"one of {', '.join(SCHEDULES)}"
    )
    warmup: Annotated[float | tuple[float, float], BeforeValidator(check_warmup)] = Field(0.0, description=SHARE)
    decay: Decay | None = Field(None, description=f"one of {', '.join(get_args(Decay))}")
    batch_size: StrictInt | None = Field(None, ge=1, le=MOST, description=WHOLE_NUMBER)
    seed: StrictInt = Field(0, ge=0, lt=2**32, description=f"a whole number from 0 to {2**32 - 1}")
    amp: StrictBool = Field(False, description="true or false")
    epochs: Annotated[int | dict[str, int] | None, BeforeValidator(check_epochs)] = Field(
        None, description=f"{WHOLE_NUMBER}, or a table of these by workload"
    )
    replicates: StrictInt = Field(
        1, ge=1, le=MOST_REPLICATES, description=f"a whole number from 1 to {MOST_REPLICATES}"
    )
    resplit: StrictBool = Field(False, description="true or false")
    targets: Annotated[dict[str, float], BeforeValidator(check_targets)] = Field(
        default_factory=dict, description=TARGETS
    )
    search_space: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="a table [search_space.<optimizer>] for each optimizer to change"
    )
    optimizer: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="a table [optimizer.<name>] for each optimizer of your own"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, fields: Any) -> Any:
        """Return the fields with those that the purpose decides."""
        purpose = fields.get("purpose") if isinstance(fields, Mapping) else None
        return {**PURPOSES[purpose], **fields} if isinstance(purpose, str) and purpose in PURPOSES else fields

    @property
    def fixed_warmup(self) -> float:
        """The warm-up of every trial; 0 where it is searched."""
        return 0.0 if isinstance(self.warmup, tuple) else self.warmup

    def epochs_for(self, workload: str, default: int) -> int:
        """Return the epoch budget of a trial on ``workload``, whose own budget is ``default``."""
        if isinstance(self.epochs, dict):
            return self.epochs.get(workload, default)
        return default if self.epochs is None else self.epochs
