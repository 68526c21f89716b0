"""Rows of the audit."""

from mlplatform_client._native import MLPAuditEntry

__all__ = ["MLPAuditEntry"]
