"""Spark clusters and jobs."""
