"""Roles and descriptions of tokens."""

from enum import Enum

from mlplatform_client._native import MLPRegisterTokenInfo, MLPTokenInfo

__all__ = ["MLPRegisterTokenInfo", "MLPRegisterTokenState", "MLPTokenInfo", "MLPTokenType"]


class _Text(str, Enum):
    """A string enumeration: equal to its value, and printed as its value on every Python version."""

    # str() and format() of such enumerations changed in Python 3.11 and 3.12; scripts print them.
    def __str__(self) -> str:
        return str.__str__(self.value)

    def __format__(self, spec: str) -> str:
        return str.__format__(self.value, spec)


class MLPTokenType(_Text):
    """The role of a token. Equal to its value; printed as its value, on every Python version."""

    USER = "USER"
    """Can use Spark clusters."""

    ADMIN = "ADMIN"
    """Can also manage tokens."""


class MLPRegisterTokenState(_Text):
    """The state of a registration token. Equal to its value; printed as its value, on every Python version."""

    WAITING = "WAITING"
    """It can be redeemed."""

    REDEEMED = "REDEEMED"
    """It was redeemed for an access token."""

    EXPIRED = "EXPIRED"
    """It expired without being redeemed."""

    WITHDRAWN = "WITHDRAWN"
    """It was withdrawn: by hand, with its issuer, or because the answer with its value was lost."""
