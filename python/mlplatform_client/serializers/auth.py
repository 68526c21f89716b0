"""Roles and descriptions of tokens."""

from enum import Enum

from mlplatform_client._native import MLPTokenInfo

__all__ = ["MLPTokenInfo", "MLPTokenType"]


class MLPTokenType(str, Enum):
    """What a token may do. Equal to its text; prints as its text, on every version of Python."""

    USER = "USER"
    """Work with Spark clusters."""

    ADMIN = "ADMIN"
    """The same, and manage tokens."""

    # Python changed what str() and format() give for such an enumeration in 3.11 and 3.12; scripts print it.
    def __str__(self) -> str:
        return str.__str__(self.value)

    def __format__(self, spec: str) -> str:
        return str.__format__(self.value, spec)
