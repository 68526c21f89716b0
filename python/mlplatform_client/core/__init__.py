"""Exceptions and the token string."""
