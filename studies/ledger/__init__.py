"""The only Optuna of the launching side: ask, report, tell, lease, resume."""

from studies.ledger._book import INTERRUPTED, MAX_FAILURES_IN_A_ROW, too_many_failures
from studies.ledger._budget import BudgetLedger, OutOfTimeError
from studies.ledger._budget_confirmation import BudgetConfirmationLedger, Outcome
from studies.ledger._clock import Clock
from studies.ledger._confirmation import ConfirmationLedger
from studies.ledger._confirming import CONFIRM
from studies.ledger._evaluating import Candidate
from studies.ledger._evaluation import EvaluationLedger
from studies.ledger._ledger import PROTOCOL, Ledger
from studies.ledger._pace import FEWEST_SEEDS
from studies.ledger._seeds import fresh_seeds

__all__ = [
    "CONFIRM",
    "FEWEST_SEEDS",
    "INTERRUPTED",
    "MAX_FAILURES_IN_A_ROW",
    "PROTOCOL",
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
