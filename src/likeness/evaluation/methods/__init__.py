"""The rows of the tables: what is done to a degraded face, frame or clip."""
