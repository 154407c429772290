"""Synthetic experiments with known truth, written in real instrument formats."""
