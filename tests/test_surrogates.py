"""Half a surrogate pair in a text, which no UTF-8 holds: the package's own exception, with the argument's name."""

from __future__ import annotations

import datetime
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlplatform_client import K8sSparkJobRestartPolicyType, MLPlatform
from mlplatform_client.core.exceptions import BadRequestException, ConfigurationException, MLPlatformException
from mlplatform_client.core.manifest import Manifest
from mlplatform_client.serializers.auth import MLPTokenType

# The first alone, in the middle, two in the wrong order, what `surrogateescape` makes of a byte.
HALVES = ["\ud800", "a\udfffb", "\udfff\ud800", "name-\udcff"]

METHODS = [
    name
    for name, method in inspect.getmembers(MLPlatform, callable)
    if not name.startswith("_") and name not in ("stop", "close")
]
# What is given beside the argument in question.
GOOD: dict[str, Any] = {
    "client_name": "n", "access_ttl": "1h", "refresh_ttl": "1h", "token_type": MLPTokenType.USER, "token_id": "tok_1",
    "register_token": "t", "token_name": "n", "overlap": "1h", "issuer_name": "n", "issuer_id": "tok_1",
    "cluster_id": "c", "spec": {"name": "c"}, "minutes": 10, "minutes_after_last_job": 10, "namespace": "default",
    "secret_yaml_path": "nowhere.yaml", "configmap_yaml_path": "nowhere.yaml", "secret_name": "s",
    "configmap_name": "c", "manifest": {}, "pycode_file_path": "nowhere.py", "job_name": "j",
    "yaml_file_path": "nowhere.yaml", "path": "/nowhere/job.log", "session_id": "s",
}  # fmt: skip
# They take no text at all, and say so.
NO_TEXT = {"spec", "manifest", "limit", "wait", "tail", "follow", "minutes", "minutes_after_last_job", "timeout"}
NO_TEXT |= {"on_update", "progress"}
LISTS = {"jars", "packages", "repositories"}


def _parameters(method: str) -> list[inspect.Parameter]:
    signature = inspect.signature(getattr(MLPlatform, method))
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one for one in signature.parameters.values() if one.name != "self" and one.kind in kinds]


ARGUMENTS = [(method, one.name) for method in METHODS for one in _parameters(method)]


@pytest.fixture(scope="module")
def nobody() -> MLPlatform:
    """Nothing is sent before the arguments are read."""
    return MLPlatform("a token", url="http://127.0.0.1:9", timeout=0.001)


def test_the_table_has_every_argument() -> None:
    assert len(ARGUMENTS) > 80
    assert {"get_cluster_info", "get_audit", "create_secret_from_yaml", "spark_job_logs"} <= set(METHODS)


@pytest.mark.parametrize(("method", "argument"), ARGUMENTS)
def test_in_an_argument(nobody: MLPlatform, method: str, argument: str) -> None:
    needed = [one.name for one in _parameters(method) if one.default is inspect.Parameter.empty]
    # As a file's name, what `surrogateescape` makes of a byte is that byte.
    for half in HALVES[: 3 if argument.endswith("path") else None]:
        given = {name: GOOD[name] for name in needed} | {argument: [half] if argument in LISTS else half}
        if argument in NO_TEXT:
            with pytest.raises(TypeError):
                getattr(nobody, method)(**given)
            continue
        with pytest.raises(BadRequestException, match=rf"^{argument}(\[0\])?: .*half of a surrogate pair") as refused:
            getattr(nobody, method)(**given)
        assert isinstance(refused.value, ValueError)
        assert not isinstance(refused.value, UnicodeError)
        assert refused.value.attempts == 0
        assert "give a whole text" in str(refused.value)
        str(refused.value).encode()
        pickle.loads(pickle.dumps(refused.value))


def test_in_a_dictionary_that_is_sent(nobody: MLPlatform) -> None:
    for spec in ({"name": "\ud800"}, {"\ud800": "c", "name": "c"}, {"name": "c", "labels": [{"a": "\udfff"}]}):
        with pytest.raises(BadRequestException, match=r"^spec: .*surrogate"):
            nobody.create_cluster(spec)
    with pytest.raises(BadRequestException, match=r"^manifest: .*surrogate"):
        nobody.spark_submit_job("c", {"metadata": {"name": "\ud800"}})


def test_in_the_name_of_an_argument(nobody: MLPlatform) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        nobody.delete_token("n", **{"\ud800": 1})
    for name in ("\ud800", "a\0b"):
        with pytest.warns(UserWarning, match="ignores the keyword argument"), pytest.raises(MLPlatformException):
            nobody.get_cluster_info("c", **{name: 1})


@pytest.mark.parametrize("setting", ["refresh_token", "url", "ca_bundle", "client_cert", "client_key"])
def test_in_a_setting(setting: str) -> None:
    with pytest.raises(ConfigurationException, match=f"^{setting}: .*half of a surrogate pair") as refused:
        MLPlatform(**{setting: "mlpr_\ud800"})  # type: ignore[arg-type]
    assert isinstance(refused.value, ValueError)
    assert "mlpr_" not in str(refused.value)


@pytest.mark.skipif(sys.platform == "win32", reason="bytes that are no text are unix's")
@pytest.mark.parametrize(
    "variable", ["MLP_URL", "MLP_REFRESH_TOKEN", "MLP_CA_BUNDLE", "MLP_CLIENT_CERT", "MLP_TIMEOUT", "MLP_ALLOW_HTTP"]
)
def test_in_the_environment(variable: str) -> None:
    """Not taken for unset: with the default instead, the token would go to another platform than was meant."""
    script = (
        "from mlplatform_client import MLPlatform\n"
        "from mlplatform_client.core.exceptions import ConfigurationException\n"
        "try:\n    MLPlatform()\n"
        "except ConfigurationException as error:\n    print(error)\n"
    )
    environment = {**os.environb, variable.encode(): b"https://platform.example/\xff"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert f"environment variable {variable}) is not UTF-8".encode() in done.stdout, (done.stdout, done.stderr)


MANIFEST = (
    "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: j}\nspec: {type: Python}\n"
)

CHANGES: dict[str, Callable[[Manifest, str], Any]] = {
    "job_name": lambda manifest, half: setattr(manifest, "job_name", half),
    "main_app_file": lambda manifest, half: setattr(manifest, "main_app_file", half),
    "main_class": lambda manifest, half: setattr(manifest, "main_class", half),
    "spec_type": lambda manifest, half: setattr(manifest, "spec_type", half),
    "settings.memory": lambda manifest, half: manifest.set_executor_settings({"memory": half}),
    "a key of settings": lambda manifest, half: manifest.set_driver_settings({half: 1}),
    "spark_conf.a": lambda manifest, half: manifest.set_spark_conf({"a": half}),
    "a key of spark_conf": lambda manifest, half: manifest.set_spark_conf({half: "a"}),
    r"jars\[1\]": lambda manifest, half: manifest.set_jars(["a", half]),
    r"files\[0\]": lambda manifest, half: manifest.add_files([half]),
    r"env\[0\].value": lambda manifest, half: manifest.add_driver_env([{"name": "A", "value": half}]),
    "restart_type": lambda manifest, half: manifest.set_restart_policy(half),
    "file_path": lambda manifest, half: manifest.save_yaml(half),
    "content": lambda _, half: Manifest(MANIFEST.replace("j}", half + "}")),
    "content.metadata.name": lambda _, half: Manifest({"metadata": {"name": half}}),
    "yaml_file_path": lambda _, half: Manifest.from_yaml_file(half),
}


@pytest.mark.parametrize("place", CHANGES)
def test_in_a_manifest(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = Manifest(MANIFEST)
    before = manifest.to_yaml()
    for half in HALVES[:3]:
        with pytest.raises(BadRequestException, match=f"^{place}: .*half of a surrogate pair"):
            CHANGES[place](manifest, half)
    assert manifest.to_yaml() == before
    assert K8sSparkJobRestartPolicyType.NEVER


def test_a_moment_and_a_lifetime_are_told_by_name(nobody: MLPlatform) -> None:
    with pytest.raises(BadRequestException, match=r"^since: .*surrogate"):
        nobody.get_audit(since="\ud800", until=datetime.timedelta(hours=1))
    with pytest.raises(BadRequestException, match=r"^overlap: .*surrogate"):
        nobody.rotate_token("n", overlap="1\udfffh")
