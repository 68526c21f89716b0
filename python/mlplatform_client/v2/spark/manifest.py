"""The manifest of a job."""

from __future__ import annotations

from mlplatform_client._native import Manifest as _Manifest
from mlplatform_client.core.exceptions import BadRequestException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Manifest"]


class Manifest(_Manifest):
    """A ``Manifest`` that takes no ``None`` for a Spark setting: scripts set what ``os.environ.get`` returns."""

    def set_spark_conf(self, spark_conf: Mapping[str, str | float | bool | None]) -> None:
        """``mlplatform_client.core.manifest.Manifest.set_spark_conf``, but ``None`` does not remove a setting.

        Parameters
        ----------
        spark_conf : dict
            Properties and their values.

        Raises
        ------
        BadRequestException
            A value is ``None``. Also a ``ValueError``.
        """
        refuse_unset(f"spark_conf.{name}" for name, value in spark_conf.items() if value is None)
        super().set_spark_conf(spark_conf)


def refuse_unset(names: Iterable[str]) -> None:
    """Refuse values that are ``None``, which ``os.environ.get`` returns for a variable that is not set."""
    given = [*names]
    if given:
        raise BadRequestException(f"{', '.join(given)}: it is None; is an environment variable not set?")
