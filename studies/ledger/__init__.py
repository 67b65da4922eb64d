"""The only Optuna of the launching side: ask, report, tell, lease, resume."""

from studies.ledger._book import INTERRUPTED, MAX_FAILURES_IN_A_ROW, StudyPlan, too_many_failures
from studies.ledger._budget import BudgetLedger, OutOfTimeError
from studies.ledger._budget_confirmation import BudgetConfirmationLedger, Outcome
from studies.ledger._clock import Clock
from studies.ledger._confirmation import ConfirmationLedger
from studies.ledger._confirming import CONFIRM
from studies.ledger._database import REFUSALS, check_settled, close_storage, open_storage
from studies.ledger._evaluating import Candidate
from studies.ledger._evaluation import EvaluationLedger
from studies.ledger._lease import in_words as driver_in_words
from studies.ledger._ledger import PROTOCOL, Ledger
from studies.ledger._opening import unreadable
from studies.ledger._pace import FEWEST_SEEDS
from studies.ledger._rows import LOST
from studies.ledger._samplers import derive_seed
from studies.ledger._seeds import fresh_seeds
from studies.storage_url import hide_password

__all__ = [
    "CONFIRM",
    "FEWEST_SEEDS",
    "INTERRUPTED",
    "LOST",
    "MAX_FAILURES_IN_A_ROW",
    "PROTOCOL",
    "REFUSALS",
    "BudgetConfirmationLedger",
    "BudgetLedger",
    "Candidate",
    "Clock",
    "ConfirmationLedger",
    "EvaluationLedger",
    "Ledger",
    "OutOfTimeError",
    "Outcome",
    "StudyPlan",
    "check_settled",
    "close_storage",
    "derive_seed",
    "driver_in_words",
    "fresh_seeds",
    "hide_password",
    "open_storage",
    "too_many_failures",
    "unreadable",
]
