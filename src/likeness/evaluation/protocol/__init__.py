"""Degrades, restores and measures."""
