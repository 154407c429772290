"""Reports that are one self-contained HTML page: no request leaves it."""

from operando.report.page import FigureEntry, write
from operando.report.summary import write_summary
from operando.report.tables import Table, observables_table

__all__ = ["FigureEntry", "Table", "observables_table", "write", "write_summary"]
