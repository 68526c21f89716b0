"""Rows of the audit log."""

from mlplatform_client._native import MLPAuditEntry

__all__ = ["MLPAuditEntry"]
