"""The only Optuna of the launching side: ask, report, end, lease, resume."""

from studies.ledger.budget import Clock, OutOfTimeError, SearchBudget
from studies.ledger.confirmation_budget import ConfirmationBudget
from studies.ledger.ledger import Ledger
from studies.ledger.limits import Limits
from studies.ledger.open import look_at_search, open_confirmation, open_evaluation, open_search
from studies.ledger.repeats import Candidate, fresh_seeds
from studies.ledger.winner import ConfirmedWinner, confirmed_winner

__all__ = [
    "Candidate",
    "Clock",
    "ConfirmationBudget",
    "ConfirmedWinner",
    "Ledger",
    "Limits",
    "OutOfTimeError",
    "SearchBudget",
    "confirmed_winner",
    "fresh_seeds",
    "look_at_search",
    "open_confirmation",
    "open_evaluation",
    "open_search",
]
