"""A study as the database describes it, and the frames of what it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.metric_scale import Scale
from analysis.parameters import ParameterInfo
from analysis.text import not_as_published
from search_spaces.errors import UserError, number_of


def bounds_of(
    metric: str, scale: Scale | None, told: Sequence[float] | None, values: ArrayLike = ()
) -> tuple[float, float]:
    """Return between which values a metric of a campaign lies, see `Study.bounds`; ``told`` are bounds of its own.

    >>> bounds_of("accuracy", None, None), bounds_of("accuracy", None, None, [97.0]), bounds_of("gap", "log", None)
    ((0.0, 1.0), (-inf, inf), (0.0, inf))
    """
    if told:
        return float(told[0]), float(told[1])
    if metric.endswith("accuracy"):
        observed = np.asarray(values, dtype=np.float64)
        inside = observed[np.isfinite(observed)]
        return (0.0, 1.0) if ((inside >= 0) & (inside <= 1)).all() else (-math.inf, math.inf)
    return (0.0 if metric == "gap" or scale == "log" else -math.inf), math.inf


@dataclass(frozen=True, slots=True)
class Study:
    """One study, as the database describes it.

    Attributes:
        study_id: In the database.
        name: ``{campaign}/{workload}/{optimizer}``, or whatever another program called it.
        campaign: The whole configuration; empty for a study of another program.
        workload: Empty for a study of another program.
        optimizer: Empty for a study of another program.
        metric: Its name, ``"value"`` where another program gave it none.
        direction: ``"maximize"`` or ``"minimize"``.
        attributes: All user attributes of the study.
        parameters: How each searched parameter was searched, by name. A campaign's study stores it (fixed parameters
            are not in it). Of any other study, and where the stored space is of a version that cannot be read, it is
            taken from the distributions of the trials, some of which may lack some of the parameters.
        own: Whether a campaign made it; otherwise it is a study of another program.
        confirmation: All user attributes of the study that holds its winner's confirmation runs; empty without one.
        objective: Which of its objectives is looked at, counted from 0; ``metric`` and ``direction`` are of that one.
        num_objectives: How many it has.
    """

    study_id: int
    name: str
    campaign: Mapping[str, Any]
    workload: str
    optimizer: str
    metric: str
    direction: str
    attributes: Mapping[str, Any]
    parameters: Mapping[str, ParameterInfo] = field(default_factory=dict)
    own: bool = True
    confirmation: Mapping[str, Any] = field(default_factory=dict)
    objective: int = 0
    num_objectives: int = 1

    @property
    def title(self) -> str:
        """Its name, and which of several objectives is looked at."""
        one = f", objective {self.objective} ({self.metric})" if self.num_objectives > 1 else ""
        return f"{self.name}{one}"

    @property
    def fixed(self) -> Mapping[str, Any]:
        """The values of the parameters that were not searched, by name, as far as the study tells."""
        space = self.attributes.get("search_space")
        fixed = space.get("fixed") if isinstance(space, Mapping) else None
        return fixed if isinstance(fixed, Mapping) else {}

    @property
    def replicate(self) -> int:
        """Which of the searches of one workload and optimizer it is, from 1."""
        return int(self.attributes.get("replicate", 1)) if self.own else 1

    @property
    def kind(self) -> str:
        """The kind of task that its workload is of, in a word; empty where nobody told."""
        return str(self.attributes.get("kind", ""))

    @property
    def resplit(self) -> bool:
        """Whether examples were drawn again for each replicate: values then vary over splits too, else over seeds."""
        return self.attributes.get("resplit") is True

    @property
    def split(self) -> str:
        """What the metric is measured on while tuning: ``"training"`` or ``"validation"`` data; empty if unknown."""
        if not self.own:
            return ""
        return "training" if self.attributes.get("metric_split") == "train" else "validation"

    @property
    def tuned_metric(self) -> str:
        """The metric that tuning goes by, in words: ``validation accuracy``, or ``training gap``."""
        return f"{self.split} {self.metric}".strip()

    def bounds(self, values: ArrayLike) -> tuple[float, float]:
        """Return between which values the metric lies, as far as it, its name or its scale tell; else infinite ends.

        Args:
            values: That were observed: an accuracy beyond 1 is in percent, or of a person's own making.
        """
        told = self.attributes.get("metric_bounds")
        return bounds_of(self.metric, self.scale, told, values) if self.own or told else (-math.inf, math.inf)

    @property
    def scale(self) -> Scale | None:
        """The scale of the metric, as the workload told it; ``None`` where nobody did (see `metric_scale.scale_of`)."""
        stored = self.attributes.get("metric_scale")
        return stored if stored in ("linear", "log") else None

    @property
    def target(self) -> float | None:
        """The value of the metric that counts as solved: the campaign's own, else the workload's; ``None`` without."""
        targets = self.campaign.get("targets")
        own = targets.get(self.workload) if isinstance(targets, Mapping) else None
        found = self.attributes.get("target") if own is None else own
        return None if found is None else float(found)

    @property
    def data_note(self) -> str:
        """That the data were not the files published under their name, in a sentence; "" where they were."""
        note = not_as_published(self.attributes.get("data") or {})
        return f"{self.workload}: {note}" if note else ""

    def confirmed_on_others(self) -> list[str]:
        """Return the files whose content was another in the confirmation than in the search."""
        begun, ended = ((one.get("data") or {}).get("md5", {}) for one in (self.attributes, self.confirmation))
        return [file for file in ended if begun.get(file, ended[file]) != ended[file]]

    @property
    def target_origin(self) -> str:
        """How the workload's target came about, in words; "" where the campaign has its own or nothing is stored."""
        targets = self.campaign.get("targets")
        own = isinstance(targets, Mapping) and targets.get(self.workload) is not None
        return "" if own else str(self.attributes.get("target_origin") or "")

    @property
    def epoch_budget(self) -> str:
        """The epochs of a trial in words, as far as they are stored."""
        stored = self.attributes.get("epochs")
        return number_of(stored, "epoch") if isinstance(stored, int) else "an unknown number of epochs"

    @property
    def better(self) -> str:
        """Which way the metric is better, in words."""
        return "higher is better" if self.direction == "maximize" else "lower is better"


@dataclass(frozen=True, slots=True)
class Frames:
    """What `read` reads, each as the function of its name describes it."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    confirmations: pd.DataFrame


def check_protocols(of: Sequence[Study]) -> None:
    """Refuse studies whose values were made by different rules.

    Raises:
        UserError: They are of two protocols or more.
    """
    protocols = sorted({str(study.attributes.get("protocol")) for study in of if study.own})
    if len(protocols) > 1:
        raise UserError(
            f"the studies were made by different rules (protocols {' and '.join(protocols)}), so that their values do "
            "not compare; report on each with --study"
        )
