import datetime
import os
from types import TracebackType
from typing import Any, final

from mlplatform_client.core.token import TokenStr
from mlplatform_client.serializers.auth import MLPTokenType

__version__: str

def contract() -> dict[str, Any]: ...

@final
class MLPTokenInfo:
    def __new__(
        cls,
        id: str,
        name: str,
        type: MLPTokenType | str,
        issuer_name: str,
        exp: datetime.datetime | None,
        created_at: datetime.datetime,
    ) -> MLPTokenInfo: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> MLPTokenType | str: ...
    @property
    def issuer_name(self) -> str: ...
    @property
    def exp(self) -> datetime.datetime | None: ...
    @property
    def created_at(self) -> datetime.datetime: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class MLPlatform:
    def __new__(
        cls,
        refresh_token: str | None = None,
        *,
        url: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        allow_http: bool | None = None,
    ) -> MLPlatform: ...
    def create_register_token(
        self,
        client_name: str,
        access_ttl: str | datetime.timedelta | float,
        *,
        refresh_ttl: str | datetime.timedelta | float | None = None,
        token_type: MLPTokenType,
        timeout: float | None = None,
    ) -> TokenStr: ...
    def create_refresh_token(self, register_token: str, *, timeout: float | None = None) -> TokenStr: ...
    def delete_token(self, token_name: str, *, timeout: float | None = None) -> None: ...
    def who_am_i(self, *, timeout: float | None = None) -> MLPTokenInfo: ...
    def get_project_tokens_info(self, *, timeout: float | None = None) -> list[MLPTokenInfo]: ...
    def stop(self, **kwargs: Any) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> MLPlatform: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
