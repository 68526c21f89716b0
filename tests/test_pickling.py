"""Values and exceptions cross process borders; what holds a token and connections refuses to."""

from __future__ import annotations

import copy
import datetime
import inspect
import multiprocessing
import pickle

import pytest

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core import exceptions
from mlplatform_client.core.exceptions import ForbiddenException, MLPlatformException
from mlplatform_client.serializers.auth import MLPTokenInfo, MLPTokenType
from mlplatform_client.serializers.spark_proxy import K8sClusterInfo, K8sConfigmap, K8sObjectNamesList, K8sSecret

NOW = datetime.datetime(2026, 11, 24, 15, 0, tzinfo=datetime.timezone.utc)
INFO = MLPTokenInfo("tok_1", "anna", MLPTokenType.USER, "admin", None, NOW)
CLUSTER = K8sClusterInfo("c", "local", None, "RUNNING", None, "bucket", "r", None, 3, None, 90)
ERROR = ForbiddenException(
    "<Response [403]>.", status=403, error_code="ForbiddenException", field="Forbidden", hint="ask", attempts=2
)


def echo(values: list[object]) -> list[object]:
    return values


def test_spawned_processes_get_equal_values() -> None:
    values: list[object] = [INFO, MLPTokenType.ADMIN, TokenStr("a token"), ERROR, CLUSTER]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        info, kind, token, error, cluster = pool.apply(echo, (values,))
    assert info == INFO
    assert isinstance(info, MLPTokenInfo)
    assert cluster == CLUSTER
    assert hash(cluster) == hash(CLUSTER)
    assert kind is MLPTokenType.ADMIN
    assert (token, type(token)) == ("a token", TokenStr)
    assert type(error) is ForbiddenException
    assert str(error) == str(ERROR)
    assert vars(error) == vars(ERROR)


@pytest.mark.parametrize(
    "cls", [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, MLPlatformException)]
)
def test_every_exception_survives(cls: type[MLPlatformException]) -> None:
    error = cls("what happened", status=418, hint="what to do", request_id="req_1")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert isinstance(again, MLPlatformException)


def test_infos_are_values() -> None:
    same = MLPTokenInfo("tok_1", "anna", MLPTokenType.USER, "admin", None, NOW)
    other = MLPTokenInfo("tok_2", "anna", MLPTokenType.USER, "admin", None, NOW)
    assert INFO == same
    assert hash(INFO) == hash(same)
    assert INFO != other
    assert INFO != "anna"
    assert copy.deepcopy(INFO) == INFO
    with pytest.raises(AttributeError):
        INFO.name = "eve"  # type: ignore[misc]


@pytest.mark.parametrize(
    "value",
    [
        CLUSTER,
        K8sSecret("s3", "Opaque", "default", {"password": "********"}),
        K8sConfigmap({"a": "b"}, "conf", "default"),
        K8sObjectNamesList(["a", "b"]),
    ],
)
def test_values_of_clusters_survive(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.deepcopy(value) == value
    assert type(value).__module__ == "mlplatform_client.serializers.spark_proxy"


@pytest.mark.parametrize("by", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_platform_object_refuses_with_the_remedy(by: object) -> None:
    assert callable(by)
    with pytest.raises(TypeError, match="reads MLP_REFRESH_TOKEN"):
        by(MLPlatform("a token"))
