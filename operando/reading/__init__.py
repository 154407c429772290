"""From a path to a checked, lazy dataset in UTC."""

from operando.reading.inspection import Inspection, inspect
from operando.reading.registry import formats
from operando.reading.series import read

__all__ = ["Inspection", "formats", "inspect", "read"]
