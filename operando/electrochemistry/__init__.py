"""What the potentiostat did: runs, the sign of the current, charge, states, half-cycles, cycles."""

from operando.electrochemistry.preparation import prepare

__all__ = ["prepare"]
