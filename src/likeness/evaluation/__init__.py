"""Evaluates restoration methods on benchmarks.

`run.evaluate(cfg)` opens a benchmark (`benchmarks`), makes the methods (`methods`), degrades, restores and measures
every face (`protocol`), and writes means with intervals under their provenance (`report`). `config` holds all options.
"""
