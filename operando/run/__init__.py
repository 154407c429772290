"""Carry out recipes: read, align, measure, detect, draw, report, store."""

from operando.run.batch import Outcome, run_batch
from operando.run.experiment import Experiment, run

__all__ = ["Experiment", "Outcome", "run", "run_batch"]
