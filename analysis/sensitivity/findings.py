"""What is known about one study: tidy tables, sentences, and a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from analysis.parameters import ParameterInfo
from analysis.sensitivity import ablation, dependence, robustness, tunability
from analysis.sensitivity.fit import Fit
from analysis.sensitivity.outcomes import Outcomes

_ORDERS = ("first_order", "first_order_low", "first_order_high", "total_order", "total_order_low", "total_order_high")
IMPORTANCE = ("parameter", *_ORDERS, "stands_out", "region")
INTERACTIONS = ("parameter_a", "parameter_b", "share", "share_low", "share_high")
QUALITY = ("region", "method", "trials", "r2", "conclusive", "noise_first_order", "noise_total_order")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a study: to add one, write a module and a row of `TABLES`.

    Attributes:
        columns: Its columns, after ``study``.
        shown: Whether the page shows it.
        percent: Columns that the page shows in percent.
        written: Whether it is a file of the report.
        compute: Gives the rows from a fit alone, without drawing from its generator; ``None`` where
            :mod:`analysis.sensitivity.analyse` knows more.
    """

    columns: tuple[str, ...]
    shown: bool = False
    percent: tuple[str, ...] = ()
    written: bool = True
    compute: Callable[[Fit], pd.DataFrame] | None = None


TABLES: dict[str, Table] = {
    "importance": Table(IMPORTANCE, shown=True, percent=("first_order", "total_order")),
    "interactions": Table(INTERACTIONS, shown=True, percent=("share",)),
    "robustness": Table(robustness.COLUMNS, shown=True, percent=("share_of_range",)),
    "local": Table(robustness.LOCAL, shown=True),
    "tunability": Table(tunability.COLUMNS, shown=True),
    "partial_dependence": Table(dependence.CURVE, compute=dependence.partial_dependence_of),
    "ablation": Table(ablation.COLUMNS, shown=True),
    "map": Table(dependence.MAP),
    "coordinates_map": Table(dependence.MAP, written=False),
    "divergence": Table(robustness.DIVERGENCE),
    "quality": Table(QUALITY, shown=True),
}
"""Tables of a study, by the name of their file, in the order of the page."""


@dataclass
class Findings:
    """What is known about one study; tables that cannot be given are empty, with the columns they would have.

    Every table's first column is ``study``. The others' columns are described where they are computed:
    ``importance`` and ``interactions`` here (shares of the explained variance, intervals at 90 %; regions ``all`` and
    ``good``, interactions over the whole space), ``quality`` (for each region and method of valuing trials: how many
    trials, out-of-bag R², whether conclusions can be drawn, and the line that a parameter without effect reaches),
    ``robustness``, ``local`` and ``divergence`` in :mod:`analysis.sensitivity.robustness`, ``partial_dependence``,
    ``map`` (of the two most interacting parameters) and ``coordinates_map`` (of lr and rho, for SOFIM) in
    :mod:`analysis.sensitivity.dependence`, the rest in the module of their name.

    Attributes:
        study: Its name.
        tables: By name.
        sentences: For a reader, the most important first.
        conclusive: Whether the surrogate explains enough of the whole space, and some parameter stands out there.
        even: Whether the trials cover the space about as independent draws do, and few of the values are guesses of
            what a stopped run would have gained: a sampler that learns leaves gaps, and so does a pruner.
        near_best: Share of the space predicted within 5 % of the best: estimate, low, high; ``None`` where the
            surrogate is not good enough to tell.
        diverged: Share of trials, and predicted share of the space, that diverge, are infeasible or infinitely bad.
        coordinates: What η/ρ and √ρ explain; only for SOFIM.
        nothing_better: Whether the default is the best of all complete trials, those included that are left out here.
        used: The trials that were used, and their values.
        remarks: Those of the sentences that say what is unusual about the trials, and belong beside every conclusion.
        parameters: How each was searched, by name.
        ablation_command: What runs the default and the steps from there; empty where nothing can be added to the study.
        metric: Its name.
    """

    study: str
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    conclusive: bool = False
    even: bool = True
    near_best: tuple[float, float, float] | None = None
    diverged: tuple[float, float] | None = None
    coordinates: dependence.Coordinates | None = None
    nothing_better: bool = False
    used: Outcomes | None = None
    remarks: list[str] = field(default_factory=list)
    parameters: Mapping[str, ParameterInfo] = field(default_factory=dict)
    ablation_command: str = ""
    metric: str = "value"

    def __post_init__(self) -> None:
        for name, table in TABLES.items():
            self.tables.setdefault(name, pd.DataFrame(columns=["study", *table.columns]))

    def put(self, name: str, table: pd.DataFrame) -> None:
        """Store a table, with the study's name in front; rows are added to those that are there."""
        labelled = table.copy()
        labelled.insert(0, "study", self.study)
        before = self.tables[name]
        self.tables[name] = pd.concat([before, labelled], ignore_index=True) if len(before) else labelled

    @property
    def importance(self) -> pd.DataFrame:
        """Columns: study, parameter, first_order, …_low, …_high, total_order, …_low, …_high, stands_out, region."""
        return self.tables["importance"]

    @property
    def interactions(self) -> pd.DataFrame:
        """Columns: study, parameter_a, parameter_b, share, share_low, share_high."""
        return self.tables["interactions"]

    @property
    def robustness(self) -> pd.DataFrame:
        """See :func:`analysis.sensitivity.robustness.robustness`."""
        return self.tables["robustness"]

    @property
    def tunability(self) -> pd.DataFrame:
        """See :func:`analysis.sensitivity.tunability.tunability`."""
        return self.tables["tunability"]

    @property
    def partial_dependence(self) -> pd.DataFrame:
        """See :func:`analysis.sensitivity.dependence.partial_dependence`."""
        return self.tables["partial_dependence"]

    @property
    def ablation(self) -> pd.DataFrame:
        """See :func:`analysis.sensitivity.ablation.ablation`."""
        return self.tables["ablation"]
