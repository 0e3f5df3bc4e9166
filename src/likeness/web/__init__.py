"""`likeness serve`: the page and the HTTP API, with jobs as folders and workers that do the decoding."""
