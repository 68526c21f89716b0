"""What scripts do with a class that is written in Python works with these, which are not."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import gc
import inspect
import pickle
import pprint
import weakref
from typing import Any
from unittest import mock

import pytest

from mlplatform_client import MLPlatform, _native
from mlplatform_client.core.exceptions import ConfigurationException
from mlplatform_client.core.manifest import ManifestProblem
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenInfo, MLPTokenType
from mlplatform_client.serializers.spark_proxy import (
    K8sObjectNamesList,
    K8sSparkApplication,
    K8sSparkEventsList,
    K8sSparkJobInfo,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
)

NOW = datetime.datetime(2026, 11, 28, 10, 0, tzinfo=datetime.timezone.utc)
INFO = MLPTokenInfo("tok_1", "anna", MLPTokenType.USER, "admin", None, NOW, None, NOW, "127.0.0.1")
PROBLEM = ManifestProblem("spec.driver.cores", 7, "many", "it is a whole number", "write 1")
JOB = K8sSparkJobInfo("pi", "RUNNING", "2026-11-28T10:00:00.000000+00:00", "http://127.0.0.1/")


class Project(MLPlatform):
    """As scripts wrap the reference's class."""

    def __init__(self, project: str, *, token: str, **settings: Any) -> None:
        super().__init__(token, **settings)
        self.project = project
        self.calls = 0

    def who_am_i(self, **options: Any) -> MLPTokenInfo:
        self.calls += 1
        return super().who_am_i(**options)


def test_a_subclass_has_an_init_of_its_own(platform: LocalPlatform) -> None:
    with Project("sales", token=platform.admin_token, url=platform.url) as project:
        assert type(project) is Project
        assert isinstance(project, MLPlatform)
        assert project.who_am_i(timeout=30).name == "admin"
        assert vars(project) == {"project": "sales", "calls": 1}
        assert [info.name for info in project.get_project_tokens_info()].count("admin") == 1
        assert repr(project) == f"<Project url='{platform.url}/' refresh_token=given>"
    with pytest.raises(TypeError, match=r"Project cannot be pickled or copied"):
        pickle.dumps(project)


def test_a_subclass_without_one_takes_the_same_arguments(platform: LocalPlatform) -> None:
    class Plain(MLPlatform):
        pass

    assert Plain(platform.admin_token, url=platform.url).who_am_i().name == "admin"
    for wrong in ({"address": "x"}, {"refresh_token": 5}, {"url": 5}):
        arguments: Any = wrong
        for cls in (MLPlatform, Plain):
            with pytest.raises(TypeError):
                cls(**arguments)
    parameters = inspect.signature(MLPlatform).parameters
    assert list(parameters)[:2] == ["refresh_token", "url"]
    assert parameters["url"].kind is inspect.Parameter.KEYWORD_ONLY


def test_an_init_that_was_forgotten_or_comes_twice_is_told() -> None:
    class Forgetful(MLPlatform):
        def __init__(self) -> None:
            pass

    forgetful = Forgetful()
    assert repr(forgetful) == "<Forgetful without settings>"
    with pytest.raises(ConfigurationException, match=r"super\(\).__init__"):
        forgetful.who_am_i()
    forgetful.stop()
    mlp = MLPlatform("a token", url="http://127.0.0.1:9")
    with pytest.raises(TypeError, match="create another one"):
        MLPlatform.__init__(mlp, "another token")
    # A failed one leaves nothing behind.
    with pytest.raises(ConfigurationException):
        MLPlatform.__init__(forgetful, url="nowhere")
    MLPlatform.__init__(forgetful, url="http://127.0.0.1:9")
    assert "127.0.0.1:9" in repr(forgetful)


def test_methods_of_an_object_can_be_patched() -> None:
    mlp = MLPlatform("a token", url="http://127.0.0.1:9")
    with mock.patch.object(mlp, "who_am_i", return_value=INFO) as patched:
        assert mlp.who_am_i() is INFO
    patched.assert_called_once_with()
    assert vars(mlp) == {}
    with mock.patch.object(MLPlatform, "get_clusters", autospec=True, return_value=[]) as of_class:
        assert mlp.get_clusters(timeout=5) == []
    of_class.assert_called_once_with(timeout=5)
    with mock.patch.object(mlp, "get_clusters", autospec=True, return_value=[]):
        assert mlp.get_clusters(timeout=5) == []
    assert vars(mlp) == {}


@pytest.mark.parametrize("spec", [MLPlatform, MLPlatform("a token", url="http://127.0.0.1:9"), Project])
def test_a_double_has_the_methods_and_no_others(spec: Any) -> None:
    """Their signatures it does not know: mock reads those of functions written in Python alone."""
    double: Any = mock.create_autospec(spec, instance=isinstance(spec, type))
    double.delete_token(token_name="anna")
    double.delete_token.assert_called_once_with(token_name="anna")
    with pytest.raises(AttributeError):
        double.delete_tokens()
    assert isinstance(double, MLPlatform)


@pytest.mark.parametrize(
    "value",
    [
        MLPlatform("a token", url="http://127.0.0.1:9"),
        INFO,
        PROBLEM,
        JOB,
        K8sSparkJobsInfoList([JOB]),
        K8sSparkEventsList([]),
        K8sObjectNamesList(["a"]),
        K8sSparkJobLogs("text"),
        K8sSparkApplication('{"kind": "SparkApplication"}'),
        _native.Manifest.default(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weak_references(value: object) -> None:
    weak = weakref.ref(value)
    assert weak() is value
    assert weakref.WeakKeyDictionary({type(value): 1})


def test_what_nobody_refers_to_goes_with_its_cycle() -> None:
    mlp = MLPlatform("a token", url="http://127.0.0.1:9")
    mlp.itself = mlp  # type: ignore[attr-defined]
    gone = weakref.ref(mlp)
    del mlp
    gc.collect()
    assert gone() is None


# --- value classes


VALUES: list[Any] = [
    cls for _, cls in inspect.getmembers(_native, inspect.isclass) if hasattr(cls, "__dataclass_fields__")
]


def test_all_value_classes_have_fields() -> None:
    others = {"Login", "MLPlatform", "AwaitedPlatform", "Call", "Completions", "SparkJobLogLines"}
    others |= {"Manifest", "K8sSparkApplication", "K8sSparkEventsList", "K8sSparkJobsInfoList"}
    assert {cls.__name__ for cls in VALUES} == {
        name for name, _ in inspect.getmembers(_native, inspect.isclass) if name not in others
    }
    for cls in VALUES:
        assert [field.name for field in dataclasses.fields(cls)] == list(inspect.signature(cls).parameters)
        assert cls.to_dict.__doc__


@pytest.mark.parametrize("value", [INFO, PROBLEM, JOB, K8sObjectNamesList(["a", "b"])])
def test_fields_of_a_value(value: Any) -> None:
    fields: Any = dataclasses.fields(value)
    expected = {field.name: getattr(value, field.name) for field in fields}
    for got in (value.to_dict(), vars(value), dataclasses.asdict(value)):
        assert (got, list(got)) == (expected, list(expected))
    # A copy: what is done to it is not done to the value.
    value.to_dict().clear()
    vars(value).clear()
    assert value.to_dict() == expected
    # What pandas asks before it makes columns of fields.
    assert dataclasses.is_dataclass(type(value))
    for again in (
        dataclasses.replace(value),
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
    ):
        assert again == value
    assert type(value).__name__ in pprint.pformat([value])


def test_a_value_with_another_field() -> None:
    assert dataclasses.replace(INFO, name="boris").name == "boris"
    with pytest.raises(TypeError):
        dataclasses.replace(INFO, colour="red")


def test_a_description_is_a_dict_too() -> None:
    content = '{"kind": "SparkApplication", "spec": {"type": "Python"}}'
    assert K8sSparkApplication(content).to_dict() == {"kind": "SparkApplication", "spec": {"type": "Python"}}
