"""The report: from studies in the database to a page, figures and tables."""

from analysis.report._chapter import Options, examined
from analysis.report._names import folder
from analysis.report._page import printable
from analysis.report._publish import publish
from analysis.report._write import Report, is_of, is_report, write

__all__ = ["Options", "Report", "examined", "folder", "is_of", "is_report", "printable", "publish", "write"]
