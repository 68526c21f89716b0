"""Client of the ML platform: tokens, clusters, Spark jobs.

An Administrator makes a one-time registration token; a colleague redeems it for an access token:

>>> from mlplatform_client import MLPlatform
>>> from mlplatform_client.serializers.auth import MLPTokenType
>>>
>>> admin = MLPlatform("<access token of an Administrator>")
>>> register_token = admin.create_register_token(
...     client_name="anna", access_ttl="2h45m30s", refresh_ttl="30d", token_type=MLPTokenType.USER)
>>>
>>> refresh_token = MLPlatform().create_refresh_token(register_token)     # at the colleague's
>>> anna = MLPlatform(refresh_token)
>>> print(anna.who_am_i())

Settings are arguments of ``MLPlatform``, else environment variables: ``MLP_URL``, ``MLP_REFRESH_TOKEN``,
``MLP_CA_BUNDLE``, ``MLP_CLIENT_CERT``, ``MLP_CLIENT_KEY``, ``MLP_TIMEOUT``, ``MLP_ALLOW_HTTP``, else those of a profile
(``MLP_PROFILE``), which ``login()`` makes: it asks for a token and keeps it for the next time.

A token's value is a ``TokenStr``: ``print(token)`` and f-strings give the value, ``repr(token)`` and what a
notebook shows by itself do not.

All exceptions are subclasses of ``MLPlatformException``; ``e.hint`` has the remedy. See
``mlplatform_client.core.exceptions``.

``mlplatform_client.local.LocalPlatform`` starts a platform on this machine, for trying and for tests.
"""

from mlplatform_client._native import MLPlatform, __version__
from mlplatform_client.core.exceptions import MLPlatformException
from mlplatform_client.core.token import TokenStr as TokenStr

# Without TokenStr: help() would put the sixty methods of `str` between the reader and ours.
__all__ = ["K8sSparkJobRestartPolicyType", "MLPlatform", "MLPlatformException", "__version__", "login"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client._login import login as login
    from mlplatform_client.serializers.spark_proxy import K8sSparkJobRestartPolicyType


# The documents use the enumeration unqualified; both are too dear for those who do not need them.
def __getattr__(name: str) -> object:
    if name == "login":
        from mlplatform_client._login import login

        return login
    if name == "K8sSparkJobRestartPolicyType":
        from mlplatform_client.serializers.spark_proxy import K8sSparkJobRestartPolicyType

        return K8sSparkJobRestartPolicyType
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Completion in notebooks asks for it. Without the enumeration: help() asks, too, and would put the methods of `str`
    # between the reader and ours.
    return [*globals(), "login"]
