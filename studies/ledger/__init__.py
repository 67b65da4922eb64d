"""The only Optuna of the launching side: ask, report, tell, lease, resume."""

from studies.ledger._book import too_many_failures
from studies.ledger._budget import BudgetLedger, OutOfTimeError
from studies.ledger._budget_confirmation import BudgetConfirmationLedger, Outcome
from studies.ledger._clock import Clock
from studies.ledger._confirmation import ConfirmationLedger
from studies.ledger._evaluating import Candidate
from studies.ledger._evaluation import EvaluationLedger
from studies.ledger._ledger import Ledger
from studies.ledger._pace import FEWEST_SEEDS
from studies.ledger._seeds import fresh_seeds

__all__ = [
    "FEWEST_SEEDS",
    "BudgetConfirmationLedger",
    "BudgetLedger",
    "Candidate",
    "Clock",
    "ConfirmationLedger",
    "EvaluationLedger",
    "Ledger",
    "OutOfTimeError",
    "Outcome",
    "fresh_seeds",
    "too_many_failures",
]
