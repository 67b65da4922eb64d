"""Flags: what speaks against the searches of campaigns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.audit._looks import KINDS
from analysis.audit._search import Search, search_of
from analysis.audit._stopping import correlation
from analysis.comparison.searches import ENOUGH
from analysis.study import Study
from search_spaces import ANY

_NO_RUNS = pd.DataFrame({"study": [], "outcome": [], "value": []})
COLUMNS = ("kind", "workload", "optimizer", "study", "sentence", "remedy")


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that speaks against a search, or a campaign.

    Attributes:
        kind: Key in :data:`KINDS`, or one of a campaign's.
        workload: Empty for a whole campaign, like ``optimizer`` and ``study``.
        optimizer: See ``workload``.
        study: See ``workload``.
        sentence: What it is.
        remedy: A command, or a line of the campaign's file.
        searches: Which of the optimizer's searches on the workload it is of, in words; empty where there is but one.
    """

    kind: str
    workload: str
    optimizer: str
    study: str
    sentence: str
    remedy: str
    searches: str = ""


def audit(
    studies: Sequence[Study], trials: pd.DataFrame, curves: pd.DataFrame, confirmations: pd.DataFrame | None = None
) -> list[Flag]:
    """Return what speaks against the finished searches of campaigns; those of the same kind stand together.

    Where an optimizer was searched several times on a workload, a kind is flagged that half of the searches show.

    Args:
        studies: Of campaigns; those of other programs, and searches that choose the optimizer too, are left out.
        trials: As :func:`analysis.load.trials` gives them; ``drawn_by`` may be missing.
        curves: As :func:`analysis.load.curves`.
        confirmations: As :func:`analysis.load.confirmations`; they tell how much seeds alone change.
    """
    own = [study for study in studies if study.own and study.optimizer != ANY]
    runs = _NO_RUNS if confirmations is None else confirmations
    searches = [search for study in own if (search := search_of(study, trials, curves, runs)) is not None]
    found = list(_of_campaigns(own, searches))
    groups: dict[tuple[str, str, str], list[Search]] = {}
    for search in searches:
        key = (str(search.study.campaign["name"]), search.study.workload, search.study.optimizer)
        groups.setdefault(key, []).append(search)
    for kind, look in KINDS.items():
        for group in groups.values():
            told = [(search.study, finding) for search in group if (finding := look(search)) is not None]
            if told and 2 * len(told) >= len(group):
                study, (sentence, remedy) = told[0]
                which = f"search {study.replicate}" if study.replicate > 1 else ""
                if len(group) > 1:
                    which = f"{len(told)} of {len(group)} searches, here search {study.replicate}"
                found.append(Flag(kind, study.workload, study.optimizer, study.name, sentence, remedy, which))
    return [*found, *_correlations(groups)]


def _correlations(groups: Mapping[tuple[str, str, str], Sequence[Search]]) -> Iterator[Flag]:
    """Yield where stopping epochs say little: of an optimizer on a workload, else of all on it together."""
    by_workload: dict[tuple[str, str], list[Search]] = {}
    told = set()
    for (campaign, workload, optimizer), group in groups.items():
        by_workload.setdefault((campaign, workload), []).extend(group)
        finding = correlation(group)
        if finding is not None:
            told.add((campaign, workload))
            yield Flag("correlation", workload, optimizer, group[0].study.name, *finding)
    for (campaign, workload), group in by_workload.items():
        if (campaign, workload) not in told and (finding := correlation(group)) is not None:
            yield Flag("correlation", workload, "", "", *finding)


def as_table(flags: Sequence[Flag]) -> pd.DataFrame:
    """Return flags as a table, a row each; columns :data:`COLUMNS`."""
    return pd.DataFrame([[getattr(flag, name) for name in COLUMNS] for flag in flags], columns=list(COLUMNS))


def _of_campaigns(studies: Sequence[Study], searches: Sequence[Search]) -> Iterator[Flag]:
    """Yield what is so of a whole campaign, of which a search is finished."""
    campaigns = {str(search.study.campaign["name"]): search.study.campaign for search in searches}
    for name, campaign in campaigns.items():
        of_this = [study for study in studies if study.campaign["name"] == name]
        planned = int(campaign.get("replicates", 1))
        made: dict[str, int] = {}
        for study in of_this:
            made[study.optimizer] = max(planned, study.replicate, made.get(study.optimizer, 1))
        fewest, most = min(made.values()), max(made.values())
        if len(made) > 1 and fewest < ENOUGH:
            often = "once" if most == 1 else f"{most} times" if fewest == most else f"{fewest} to {most} times"
            who = "Each optimizer was" if fewest == most else "Optimizers were"
            sentence = f"{who} searched {often}: what differs are the configurations that were found."
            yield Flag("searches", "", "", "", sentence, f"replicates = {ENOUGH}")
        without = any((study.attributes.get("search_space") or {}).get("of_function") for study in of_this)
        if campaign.get("schedule", "constant") == "constant" and not without:  # a training function has its own
            sentence = "The learning rate was constant: which optimizer is ahead may change where it decays."
            yield Flag("schedule", "", "", "", sentence, 'schedule = "cosine"')


def shown(flag: Flag) -> str:
    """Return a flag in a line, with what it is about."""
    about = f"{flag.optimizer} on {flag.workload}" if flag.study else flag.workload
    about += f", {flag.searches}" if flag.searches else ""
    return f"{about}: {flag.sentence}" if about else flag.sentence
