"""From scores to means with intervals, tables, figures and their provenance."""
