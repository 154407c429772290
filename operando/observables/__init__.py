"""Numbers per exposure, each with its sigma and its assessment."""
