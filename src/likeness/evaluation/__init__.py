"""Benchmarks, methods, the protocol that runs them, statistics, tables and figures.

The way through: `run.evaluate(cfg)` opens a benchmark (`benchmarks`), makes the methods (`methods`),
degrades, restores and measures every face (`protocol`, `measures`), and writes means with intervals
(`statistics`, `tables`, `figures`) under their `provenance`.
"""
