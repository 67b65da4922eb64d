"""What Optuna's dashboard shows on the studies of campaigns beside what is in the database: notes and plots."""

from analysis.annotations._note import Setting
from analysis.annotations._storage import AnnotatedStorage, Annotation
from analysis.annotations._watch import Watch

__all__ = ["AnnotatedStorage", "Annotation", "Setting", "Watch"]
