"""What Optuna's dashboard shows on the studies of campaigns beside what is in the database: notes and plots."""

from analysis.dashboard._note import Setting
from analysis.dashboard._storage import AnnotatedStorage, Annotation
from analysis.dashboard._watch import Watch

__all__ = ["AnnotatedStorage", "Annotation", "Setting", "Watch"]
