"""Arguments and return values, at the reference library's import paths."""
