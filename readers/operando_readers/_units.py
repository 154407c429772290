"""Units as instruments spell them, and what they are in ours: V, A, A h and s."""

from __future__ import annotations

POTENTIAL = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6}
CURRENT = {
    **{"A": 1.0, "mA": 1e-3, "uA": 1e-6, "µA": 1e-6, "μA": 1e-6},
    **{"nA": 1e-9, "pA": 1e-12},
}
"""The micro sign and the Greek letter look alike; files hold both."""
CHARGE = {
    f"{unit}{hour}": factor for unit, factor in CURRENT.items() for hour in ("h", ".h", " h", "hr")
} | {"C": 1 / 3600, "mC": 1e-3 / 3600}
TIME = {
    **{"ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0},
    **{"min": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0},
}
