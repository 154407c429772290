"""Electrochemical state on the time axis of the frames, averaged over each exposure."""

from operando.align.joining import align

__all__ = ["align"]
