"""Electrochemical state on the time axis of the frames, averaged over each exposure."""

from operando.align.joining import align
from operando.align.offsets import OffsetProposal, propose_offset, trigger_offset
from operando.align.pairing import pair

__all__ = ["OffsetProposal", "align", "pair", "propose_offset", "trigger_offset"]
