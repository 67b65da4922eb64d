"""A campaign as a person writes it: what to tune, on what, how often and by which rules."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
)

from search_spaces.pruners import PRUNERS
from search_spaces.samplers import SAMPLERS
from studies.campaign._checks import (
    MOST,
    TARGETS,
    WHOLE_NUMBER,
    check_different,
    check_epochs,
    check_name,
    check_targets,
    one_of,
)
from studies.training.schedules import SCHEDULES

Names = Annotated[tuple[StrictStr, ...], Field(min_length=1), AfterValidator(check_different)]


class Campaign(BaseModel):
    """What one launches: every optimizer is tuned on every workload, ``trials`` times each.

    Each field is a key of a campaign's file, and its description says what is allowed. Whether the names mean anything
    is looked up where a `CampaignPlan` is made of it.

    Args:
        name: Part of the names of its studies.
        workloads: Keys of ``studies.workloads.WORKLOADS``, or ``"package.module:factory"`` for one's own.
        optimizers: Keys of ``sofim.OPTIMIZERS``.
        trials: Number of trials of each study.
        sampler: Who proposes configurations.
        pruner: Who stops bad trials early.
        schedule: Of the learning rate, the same for every optimizer.
        seed: Of configurations, initial weights and data order.
        amp: Whether GPUs compute in bfloat16 where that is safe.
        epochs: Epoch budget of a trial, for all workloads or by workload, instead of the workload's own.
        replicates: How often every study is made. The first is the study; the others repeat its search with other
            random numbers, configurations and initial weights alike, and tell how much the search itself varies.
        targets: By workload, the value of the metric that counts as reached in times to target, instead of what the
            best optimizer reaches.
        search_space: Changes to the search spaces by optimizer, as in ``[search_space.<optimizer>]`` tables.

    Raises:
        pydantic.ValidationError: A field is not allowed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[StrictStr, AfterValidator(check_name)] = Field(description="a name of 1 to 64 characters")
    workloads: Names = Field(description='a list of workloads, such as ["digits-mlp"]')
    optimizers: Names = Field(description='a list of optimizers, such as ["sofim", "sgd"]')
    trials: StrictInt = Field(ge=1, le=MOST, description=WHOLE_NUMBER)
    sampler: Annotated[StrictStr, AfterValidator(one_of(SAMPLERS))] = Field(
        "tpe", description=f"one of {', '.join(SAMPLERS)}"
    )
    pruner: Annotated[StrictStr, AfterValidator(one_of(PRUNERS))] = Field(
        "hyperband", description=f"one of {', '.join(PRUNERS)}"
    )
    schedule: Annotated[StrictStr, AfterValidator(one_of(SCHEDULES))] = Field(
        "constant", description=f"one of {', '.join(SCHEDULES)}"
    )
    seed: StrictInt = Field(0, ge=0, lt=2**32, description=f"a whole number from 0 to {2**32 - 1}")
    amp: StrictBool = Field(False, description="true or false")
    epochs: Annotated[int | dict[str, int] | None, BeforeValidator(check_epochs)] = Field(
        None, description=f"{WHOLE_NUMBER}, or a table of these by workload"
    )
    replicates: StrictInt = Field(1, ge=1, le=100, description="a whole number from 1 to 100")
    targets: Annotated[dict[str, float], BeforeValidator(check_targets)] = Field(
        default_factory=dict, description=TARGETS
    )
    search_space: dict[str, dict[str, object]] = Field(
        default_factory=dict, description="a table [search_space.<optimizer>] for each optimizer to change"
    )

    def epochs_for(self, workload: str, default: int) -> int:
        """Return the epoch budget of a trial on ``workload``, whose own budget is ``default``."""
        if isinstance(self.epochs, dict):
            return self.epochs.get(workload, default)
        return default if self.epochs is None else self.epochs
