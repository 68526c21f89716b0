"""Roles and descriptions of tokens."""

from enum import Enum

from mlplatform_client._native import MLPRegisterTokenInfo, MLPTokenInfo

__all__ = ["MLPRegisterTokenInfo", "MLPRegisterTokenState", "MLPTokenInfo", "MLPTokenType"]


class _Text(str, Enum):
    """An enumeration of texts: equal to its text, and prints as its text on every version of Python."""

    # Python changed what str() and format() give for such an enumeration in 3.11 and 3.12; scripts print it.
    def __str__(self) -> str:
        return str.__str__(self.value)

    def __format__(self, spec: str) -> str:
        return str.__format__(self.value, spec)


class MLPTokenType(_Text):
    """What a token may do. Equal to its text; prints as its text, on every version of Python."""

    USER = "USER"
    """Work with Spark clusters."""

    ADMIN = "ADMIN"
    """The same, and manage tokens."""


class MLPRegisterTokenState(_Text):
    """In what state a registration token is. Equal to its text; prints as its text, on every version of Python."""

    WAITING = "WAITING"
    """It can be redeemed."""

    REDEEMED = "REDEEMED"
    """It was redeemed; an access token was made with it."""

    EXPIRED = "EXPIRED"
    """Nobody redeemed it in time."""

    WITHDRAWN = "WITHDRAWN"
    """It was withdrawn: by hand, with its issuer, or because the answer that carried it was lost."""
