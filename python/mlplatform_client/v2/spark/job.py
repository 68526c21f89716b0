"""Handles of Spark jobs."""

from mlplatform_client.core.spark_job import SparkJob

__all__ = ["SparkJob"]
