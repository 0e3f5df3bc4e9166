"""Where the work of many files runs."""
