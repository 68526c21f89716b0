"""Credentials."""

from __future__ import annotations

from mlplatform_client.core.exceptions import BadRequestException
from mlplatform_client.core.token import TokenStr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["BasicAuth", "CIAMAuth"]


def _text(name: str, value: object) -> str:
    # The value may be a secret in the wrong place.
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}: is its environment variable set?")
    if not value.strip():
        raise BadRequestException(f"{name}: it is empty; is its environment variable set?")
    return value


class _Auth:
    """The common base of the credentials."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied: it holds a secret; create one where it is needed"
        )


class BasicAuth(_Auth):
    """User name and password: here, the name and the value of an access token.

    They are sent once, as HTTP basic, for a session of some minutes, which is renewed before it ends.

    Parameters
    ----------
    username : str
        The token's name.
    password : str
        The token's value. Surrounding white space is stripped.

    Raises
    ------
    BadRequestException
        One of them is empty. Also a ``ValueError``.
    TypeError
        One of them is not a ``str``, for instance because an environment variable is not set.
    """

    __slots__ = ("_password", "username")

    def __init__(self, username: str, password: str) -> None:
        self.username = _text("username", username)
        self._password = TokenStr(_text("password", password))

    def __repr__(self) -> str:
        return f"BasicAuth(username={self.username!r}, password=(masked))"


class CIAMAuth(_Auth):
    """OAuth 2.0 client credentials: here, the name and the value of an access token.

    They are exchanged at ``{lk_ui_url}/iam/hydra/oauth2/token`` for a token of some minutes, which is renewed before it
    ends.

    Parameters
    ----------
    client_id : str, optional
        The access token's name.
    client_secret : str, optional
        The access token's value. Surrounding white space is stripped.
    ciam_access_token : str, optional
        A token of that endpoint, in place of id and secret. It is not renewed.
    lk_ui_url : str, optional
        Address of the server with the token endpoint. Default: the ``host`` of the client.
    spark_app_id : str, optional
        The audience: id or name of the cluster. Default: none, the token is for any cluster.
    verify_tls_certificate : bool, optional
        ``False``: the certificate of ``lk_ui_url`` is not verified, with a warning. Default: ``True``.

    Raises
    ------
    BadRequestException
        A value is empty, or neither a token nor both id and secret are given, or both are. Also a ``ValueError``.
    TypeError
        A value is not a ``str``.
    """

    __slots__ = (
        "_ciam_access_token",
        "_client_secret",
        "client_id",
        "lk_ui_url",
        "spark_app_id",
        "verify_tls_certificate",
    )

    def __init__(
        self,
        client_id: str | None = None,
        client_secret: str | None = None,
        ciam_access_token: str | None = None,
        lk_ui_url: str | None = None,
        spark_app_id: str | None = None,
        verify_tls_certificate: bool = True,
    ) -> None:
        def optional(name: str, value: str | None) -> str | None:
            return None if value is None else _text(name, value)

        self.client_id = optional("client_id", client_id)
        secret = optional("client_secret", client_secret)
        token = optional("ciam_access_token", ciam_access_token)
        self.lk_ui_url = optional("lk_ui_url", lk_ui_url)
        self.spark_app_id = optional("spark_app_id", spark_app_id)
        self.verify_tls_certificate = bool(verify_tls_certificate)
        if token is None and (self.client_id is None or secret is None):
            missing = "client_id" if self.client_id is None else "client_secret"
            raise BadRequestException(
                f"{missing}: it is missing; give client_id and client_secret, or ciam_access_token"
            )
        if token is not None and secret is not None:
            raise BadRequestException("ciam_access_token: client_secret is given, too; give one of them")
        if token is not None and token.strip().startswith(("mlpr_", "mlpx_")):
            raise BadRequestException(
                "ciam_access_token: this is no token of the token endpoint; give an access token as client_secret"
            )
        self._client_secret = None if secret is None else TokenStr(secret)
        self._ciam_access_token = None if token is None else TokenStr(token)

    def __repr__(self) -> str:
        secret = "client_secret" if self._ciam_access_token is None else "ciam_access_token"
        return (
            f"CIAMAuth(client_id={self.client_id!r}, {secret}=(masked), lk_ui_url={self.lk_ui_url!r}, "
            f"spark_app_id={self.spark_app_id!r}, verify_tls_certificate={self.verify_tls_certificate})"
        )
