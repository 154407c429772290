"""Lines of patterns and spectra: fitted in windows, followed through a series, identified."""
