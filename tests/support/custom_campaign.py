"""A campaign with optimizers of a person's own, of which a database alone is left: their package is nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from search_spaces import SEARCH_SPACES
from studies.campaign.resolve import ResolvedCampaign
from studies.ledger import open_confirmation, open_search
from studies.workloads import WORKLOADS
from tests.support.fake_campaign import campaign, end, record

GONE = "package_that_is_gone"


def make_custom(
    url: str, custom: Mapping[str, Mapping[str, Any]], like: Mapping[str, str], *, trials: int = 4, **changes: Any
) -> None:
    """A confirmed campaign at ``url`` whose metric grows with the place of an optimizer.

    Args:
        url: Of the database.
        custom: Tables as under ``[optimizer.NAME]``, stored as they are.
        like: By the name of each optimizer that is not in the table, the one whose search space it has.
        trials: Of each study.
        changes: To the campaign.
    """
    table = changes.pop("optimizers", ["sofim", "sgd"])
    whole = campaign(optimizers=[*table], trials=trials, workloads=["digits-mlp"], **changes)
    stored = whole.stored()
    spaces = campaign(optimizers=list(dict.fromkeys(like.values()))).spaces
    named = {name: replace(spaces[other], optimizer=name) for name, other in like.items()}
    stored["optimizers"] = [*table, *like]
    stored["spaces"] |= {name: space.to_dict() for name, space in named.items()}
    if custom:
        stored["optimizer"] = dict(custom)
    plans = ResolvedCampaign(whole, {"digits-mlp": WORKLOADS["digits-mlp"]}).study_plans()
    study = plans[0].name.rpartition("/")[0]
    plans += [
        replace(plans[0], name=f"{study}/{name}", optimizer=name, space=space, initial=())
        for name, space in named.items()
    ]
    names = [plan.optimizer for plan in plans]
    with patch.dict(SEARCH_SPACES, named):  # in this process alone
        with open_search(url, stored, plans, {"torch": "x"}) as ledger:
            while (assignment := ledger.ask()) is not None:
                end(ledger, assignment, 0.5 + 0.02 * names.index(assignment.optimizer) + 0.001 * assignment.number)
        with open_confirmation(url, stored, plans, {"torch": "x"}, seeds=3) as ledger:
            while (assignment := ledger.ask()) is not None:
                best = 0.5 + 0.02 * names.index(assignment.optimizer) + (assignment.seed % 100) / 5e3
                for epoch in range(1, 11):
                    value = best * (1 - 0.5 / epoch)
                    tests = {"test_metric": value, "test_loss": 1.0}
                    ledger.report(
                        assignment, record(epoch, value, 0.5 * epoch) | tests | {"gradient_evaluations": 10 * epoch}
                    )
                ledger.end(assignment, "complete", {"device": "cpu", "exclusive": True})
