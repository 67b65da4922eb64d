"""What Optuna's dashboard shows on the studies of campaigns beside what is in the database: notes and plots."""

from analysis.dashboard._note import NoteContext
from analysis.dashboard._service import AnnotationService
from analysis.dashboard._storage import AnnotatedStorage, Annotation

__all__ = ["AnnotatedStorage", "Annotation", "AnnotationService", "NoteContext"]
