"""Manifest: every call form of the reference, the merge rules, files, and the rules that validate() tells."""

from __future__ import annotations

import copy
import os
import pickle
import pydoc
import warnings
from pathlib import Path
from typing import Any

import pytest

import mlplatform_client
from mlplatform_client import K8sSparkJobRestartPolicyType, MLPlatform
from mlplatform_client.core import manifest as public
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ManifestException,
    MLPlatformException,
    NotFoundException,
)
from mlplatform_client.core.manifest import Manifest, ManifestProblem
from mlplatform_client.serializers import spark_proxy


@pytest.fixture
def manifest() -> Manifest:
    return Manifest.default("pi-spark-job-1")


def _spec(manifest: Manifest) -> Any:
    return manifest.to_dict()["spec"]


def test_the_platform_gives_a_default_one(admin: MLPlatform) -> None:
    cluster = admin.get_clusters()[0]
    for given in (
        admin.get_default_manifest(cluster.id, "pi-spark-job-1"),
        admin.get_default_manifest(cluster_id=cluster.id, job_name="pi-spark-job-1"),
    ):
        assert given.job_name == "pi-spark-job-1"
        assert given == Manifest.default("pi-spark-job-1")
        given.validate()
    unnamed = [admin.get_default_manifest(cluster.id).job_name for _ in range(2)]
    assert len(set(unnamed)) == 2
    with pytest.raises(NotFoundException):
        admin.get_default_manifest("no-such-cluster", "job")


def test_a_file_is_read_without_a_token(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    manifest.save_yaml(path)
    with MLPlatform() as mlp:
        assert mlp.get_manifest_from_yaml_file(path) == manifest
        assert mlp.get_manifest_from_yaml_file(yaml_file_path=str(path)) == manifest
        with pytest.warns(UserWarning, match="ignores the keyword argument 'colour'"):
            mlp.get_manifest_from_yaml_file(path, colour="red")
        with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
            mlp.get_manifest_from_yaml_file(tmp_path / "nowhere.yaml")
        with pytest.raises(IsADirectoryError):
            mlp.get_manifest_from_yaml_file(tmp_path)


def test_attributes_are_read_and_written(manifest: Manifest) -> None:
    assert (manifest.job_name, manifest.spec_type, manifest.main_class) == ("pi-spark-job-1", "Python", None)
    assert manifest.main_app_file == "local:///opt/spark/examples/src/main/python/pi.py"
    manifest.job_name = "other"
    manifest.main_app_file = "s3a://bucket/app.jar"
    manifest.main_class = "org.example.Main"
    manifest.spec_type = "Scala"
    written = manifest.to_dict()
    assert written["metadata"]["name"] == "other"
    assert [written["spec"][key] for key in ("mainApplicationFile", "mainClass", "type")] == [
        "s3a://bucket/app.jar", "org.example.Main", "Scala",
    ]  # fmt: skip
    manifest.validate()
    manifest.main_class = None
    assert "mainClass" not in _spec(manifest)
    with pytest.raises(ValueError, match="'Perl' is not a type of application: it is one of Python, Scala, Java, R"):
        manifest.spec_type = "Perl"


def test_settings_are_merged(manifest: Manifest) -> None:
    before = _spec(manifest)
    manifest.set_executor_settings({"instances": 2, "memory": "1g", "coreLimit": 2})
    manifest.set_executor_settings(settings={"env": [{"name": "A", "value": 1}]})
    manifest.set_driver_settings({"cores": 2, "coreRequest": "1200m", "coreLimit": None})
    manifest.set_driver_settings(settings={"memory": "1024m"})
    after = _spec(manifest)
    assert after["executor"] == {
        **before["executor"], "instances": 2, "memory": "1g", "coreLimit": "2", "env": [{"name": "A", "value": "1"}],
    }  # fmt: skip
    assert after["driver"] == {
        "labels": {"version": "4.3.0"}, "serviceAccount": "spark", "cores": 2, "memory": "1024m",
        "coreRequest": "1200m",
    }  # fmt: skip
    assert {key: value for key, value in after.items() if key not in ("driver", "executor")} == {
        key: value for key, value in before.items() if key not in ("driver", "executor")
    }
    manifest.validate()


def test_an_unknown_setting_is_kept_with_a_warning(manifest: Manifest) -> None:
    with pytest.warns(
        UserWarning, match=r"spec\.driver\.memry is not a setting that is known; it is kept; did you mean 'memory'\?"
    ):
        manifest.set_driver_settings({"memry": "1g"})
    with pytest.warns(UserWarning, match=r"spec\.executor\.zzzzzz is not a setting that is known; it is kept$"):
        manifest.set_executor_settings({"zzzzzz": 1})
    assert _spec(manifest)["driver"]["memry"] == "1g"
    with pytest.warns(UserWarning, match="did you mean") as caught:
        manifest.set_executor_settings({"core_limit": "1"})
    assert caught[0].filename == __file__


def test_spark_conf_is_merged_and_texts(manifest: Manifest) -> None:
    manifest.set_spark_conf({"spark.a": True, "spark.b": 8, "spark.c": "x", "spark.d": 0.5})
    manifest.set_spark_conf(spark_conf={"spark.c": None, "spark.b": "9"})
    assert _spec(manifest)["sparkConf"] == {"spark.a": "true", "spark.b": "9", "spark.d": "0.5"}
    with pytest.raises(ValueError, match=r"the value of 'spark\.x' must be a text, .*, not a list"):
        manifest.set_spark_conf({"spark.x": [1]})  # type: ignore[dict-item]
    manifest.validate()


@pytest.mark.parametrize(("name", "key"), [("jars", "jars"), ("files", "files"), ("pyfiles", "pyFiles")])
def test_lists_are_set_and_extended(manifest: Manifest, name: str, key: str) -> None:
    set_, add = getattr(manifest, f"set_{name}"), getattr(manifest, f"add_{name}")
    add(["a"])
    set_(["b", "c"])
    add(**{name: ["c", "d"]})
    assert _spec(manifest)["deps"] == {key: ["b", "c", "d"]}
    set_(**{name: ()})
    assert _spec(manifest)["deps"] == {key: []}
    with pytest.raises(TypeError, match=f"{name} must be a list of texts, not str"):
        add("a.jar")
    with pytest.raises(TypeError, match="not int"):
        set_([1])
    manifest.validate()


def test_packages_are_added(manifest: Manifest) -> None:
    manifest.add_packages(["g:a:1"])
    manifest.add_packages(packages=["g:a:1", "g:b:2"])
    assert _spec(manifest)["deps"] == {"packages": ["g:a:1", "g:b:2"]}


@pytest.mark.parametrize("part", ["driver", "executor"])
def test_variables_are_added(manifest: Manifest, part: str) -> None:
    add, add_from = getattr(manifest, f"add_{part}_env"), getattr(manifest, f"add_{part}_env_from")
    add([{"name": "MODE", "value": "fast"}, {"name": "DAYS", "value": 7}])
    add(
        env=[
            {"name": "MODE", "value": "slow"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]
    )
    add_from([{"secretRef": {"name": "my-secret"}}])
    add_from(env_from=[{"configMapRef": {"name": "my-config"}}, {"secretRef": {"name": "my-secret"}}])
    assert _spec(manifest)[part]["env"] == [
        {"name": "MODE", "value": "slow"},
        {"name": "DAYS", "value": "7"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    assert _spec(manifest)[part]["envFrom"] == [
        {"secretRef": {"name": "my-secret"}},
        {"configMapRef": {"name": "my-config"}},
    ]
    manifest.validate()
    with pytest.raises(ValueError, match="each variable is a mapping such as"):
        add([{"value": "x"}])
    with pytest.raises(ValueError, match="each source is a mapping such as"):
        add_from([{"name": "x"}])


def test_restart_policies(manifest: Manifest) -> None:
    manifest.set_restart_policy()
    assert _spec(manifest)["restartPolicy"] == {
        "type": "OnFailure", "onFailureRetries": 3, "onFailureRetryInterval": 20,
        "onSubmissionFailureRetries": 5, "onSubmissionFailureRetryInterval": 20,
    }  # fmt: skip
    manifest.set_restart_policy(K8sSparkJobRestartPolicyType.ALWAYS, 1, 2, 3, 4)
    assert list(_spec(manifest)["restartPolicy"].values()) == ["Always", 1, 2, 3, 4]
    manifest.set_restart_policy(
        restart_type=K8sSparkJobRestartPolicyType.ON_FAILURE, on_failure_retries=0, on_failure_retry_interval=1,
        on_submission_failure_retries=0, on_submission_failure_retry_interval=1,
    )  # fmt: skip
    assert list(_spec(manifest)["restartPolicy"].values()) == ["OnFailure", 0, 1, 0, 1]
    manifest.validate()
    manifest.set_restart_policy(K8sSparkJobRestartPolicyType.NEVER)
    assert _spec(manifest)["restartPolicy"] == {"type": "Never"}
    with pytest.raises(ValueError, match="on_failure_retry_interval must be at least 1, not 0"):
        manifest.set_restart_policy(on_failure_retry_interval=0)
    with pytest.raises(ValueError, match="'Sometimes' is not a restart policy: it is one of Never, Always, OnFailure"):
        manifest.set_restart_policy("Sometimes")
    with pytest.raises(TypeError, match="restart_type must be K8sSparkJobRestartPolicyType"):
        manifest.set_restart_policy(3)  # type: ignore[arg-type]


def test_the_policy_type_is_where_the_documents_use_it() -> None:
    assert K8sSparkJobRestartPolicyType is spark_proxy.K8sSparkJobRestartPolicyType
    assert K8sSparkJobRestartPolicyType is public.K8sSparkJobRestartPolicyType
    assert [f"{kind}" for kind in K8sSparkJobRestartPolicyType] == ["Never", "Always", "OnFailure"]
    assert "K8sSparkJobRestartPolicyType" in mlplatform_client.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        mlplatform_client.Nothing  # noqa: B018


def test_it_prints_as_yaml(manifest: Manifest) -> None:
    assert str(manifest) == f"{manifest}" == manifest.to_yaml().rstrip("\n")
    assert str(manifest).startswith(
        "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata:\n  name: pi-"
    )
    assert repr(manifest).startswith("<Manifest job_name='pi-spark-job-1' spec_type='Python' main_app_file='local:")


def test_it_is_a_value_that_can_be_changed(manifest: Manifest) -> None:
    for again in (
        copy.copy(manifest),
        copy.deepcopy(manifest),
        pickle.loads(pickle.dumps(manifest)),
        Manifest(str(manifest)),
    ):
        assert again == manifest
        again.job_name = "other"
        assert again != manifest
    assert Manifest(manifest.to_dict()) == manifest
    assert manifest != "text"
    with pytest.raises(TypeError):
        hash(manifest)
    with pytest.raises(TypeError, match=r"content must be a manifest as YAML text or as a dict, not int"):
        Manifest(3)  # type: ignore[arg-type]


def test_saving_is_atomic_and_follows_links(manifest: Manifest, tmp_path: Path) -> None:
    path, link = tmp_path / "job.yaml", tmp_path / "link.yaml"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    manifest.save_yaml(file_path=str(link))
    assert link.is_symlink()
    assert path.read_text() == manifest.to_yaml()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["job.yaml", "link.yaml"]
    with pytest.raises(FileNotFoundError, match=r"no/such/place\.yaml"):
        manifest.save_yaml("no/such/place.yaml")
    with pytest.raises(OSError, match="directory"):
        manifest.save_yaml(tmp_path)


def test_a_misshapen_manifest_is_told_and_not_changed() -> None:
    odd = Manifest("metadata: {name: x}\nspec:\n- a\n")
    with pytest.raises(BadRequestException, match=r"spec \(line 3\): this is a list, and a mapping was expected"):
        odd.set_jars(["a"])
    assert odd.to_yaml() == "metadata:\n  name: x\nspec:\n  - a\n"


def test_validate_lists_every_problem(manifest: Manifest) -> None:
    manifest.validate()
    manifest.job_name = "My_Job"
    manifest.set_driver_settings({"memory": "1.5g"})
    manifest.set_spark_conf({"spark.master": "yarn"})
    with pytest.raises(ManifestException) as caught:
        manifest.validate()
    error = caught.value
    assert isinstance(error, (ValueError, MLPlatformException))
    assert str(error) == (
        "the manifest breaks 3 rules:\n"
        "  metadata.name: 'My_Job'; it must have at most 63 of a-z, 0-9 and '-', begin with a letter and end with a "
        "letter or digit; write my-job, for example\n"
        '  spec.sparkConf["spark.master"]: this key; the operator refuses it in sparkConf; remove it: the operator '
        "says where the job runs\n"
        "  spec.driver.memory: '1.5g'; it must be a whole number with one of the letters k, m, g, t (times 1024); "
        "write 1536m"
    )
    assert [problem.path for problem in error.problems] == [
        "metadata.name", 'spec.sparkConf["spark.master"]', "spec.driver.memory",
    ]  # fmt: skip
    assert error.problems[2].remedy == "write 1536m"
    again = pickle.loads(pickle.dumps(error))
    assert (again.problems, str(again)) == (error.problems, str(error))


def test_what_the_operator_takes_is_a_warning_at_most(manifest: Manifest) -> None:
    manifest.set_executor_settings({"cores": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest.validate()
    manifest.set_executor_settings({"coreLimit": "1200m"})
    manifest.set_spark_conf({"spark.executor.instances": 5})
    with pytest.warns(UserWarning, match=r"spec\.") as caught:
        manifest.validate()
    told = [str(warning.message) for warning in caught]
    assert told[0].startswith(
        "spec.sparkConf[\"spark.executor.instances\"]: '5'; spec.executor.instances is 1 and wins"
    )
    assert told[1].startswith("spec.executor.cores: the number 2; without coreRequest")
    assert told[1].endswith('raise coreLimit to "2000m", remove it, or set coreRequest')


def test_validate_names_lines_and_slips() -> None:
    default = Manifest.default("job")
    default.set_driver_settings({"coreLimit": "1200m"})
    default.set_executor_settings({"coreLimit": "1200m"})
    text = str(default).replace("coreLimit", "coreLimt").replace("type: Python", "typ: Python")
    with pytest.warns(UserWarning, match="is not a setting") as warned, pytest.raises(ManifestException) as caught:
        Manifest(text).validate()
    assert [str(warning.message).split(" ")[0] for warning in warned] == [
        "spec.typ",
        "spec.driver.coreLimt",
        "spec.executor.coreLimt",
    ]
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.found) == ("spec.type", 7, None)
    assert str(problem) == "spec.type (line 7): missing; it is required; write type: Python, for example"


def test_validate_shows_no_variable_s_value(manifest: Manifest) -> None:
    text = str(manifest) + "\n    env:\n    - name: PIN\n      value: 987654\n"
    with pytest.raises(ManifestException) as caught:
        Manifest(text).validate()
    assert "987654" not in str(caught.value)
    assert "put it in quotes" in str(caught.value)


def test_problems_are_values() -> None:
    problem = ManifestProblem("spec.a", 3, "'x'", "a rule", "do this")
    assert problem == pickle.loads(pickle.dumps(problem))
    assert hash(problem) == hash(copy.copy(problem))
    assert str(problem) == "spec.a (line 3): 'x'; a rule; do this"


def test_help_reads_well() -> None:
    method = pydoc.plain(pydoc.render_doc(Manifest.set_executor_settings))
    for said in ("set_executor_settings(self, /, settings)", "instances and cores stay", "Parameters", "UserWarning"):
        assert said in method
    policy = pydoc.plain(pydoc.render_doc(Manifest.set_restart_policy))
    assert "restart_type='OnFailure', on_failure_retries=3, on_failure_retry_interval=20" in policy
    whole = pydoc.plain(pydoc.render_doc(Manifest))
    assert "SparkApplication" in whole
    assert max(map(len, whole.splitlines())) <= 240  # the signature of set_restart_policy is one line
    for name in dir(Manifest):
        if not name.startswith("_") and name not in ("job_name", "main_app_file", "main_class", "spec_type"):
            assert getattr(Manifest, name).__doc__, name


def test_no_warning_for_what_is_right(manifest: Manifest) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest.set_driver_settings({"serviceAccount": "spark", "javaOptions": "-Xss4m"})
        manifest.validate()
