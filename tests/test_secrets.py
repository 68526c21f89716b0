"""Secrets and config maps on a real platform: every call form, what they print, whom they refuse, what is hidden."""

from __future__ import annotations

import base64
import pickle
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Newcomer
from jobs import manifest, new_cluster

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.spark_proxy import K8sConfigmap, K8sObjectNamesList, K8sSecret

VALUE = "hunter2-of-the-tests"

SECRET = f"""\
apiVersion: v1
kind: Secret
metadata:
  name: s3
type: Opaque
data:
  password: {base64.b64encode(VALUE.encode()).decode()}
stringData:
  user: anna
"""

CONFIGMAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: conf
data:
  level: "10"
  log4j.properties: |
    x=1
    y=2
"""


@pytest.fixture
def cluster(admin: MLPlatform, request: pytest.FixtureRequest) -> Iterator[str]:
    """The id of a cluster of the test's own."""
    made = admin.create_cluster({"name": f"t-{abs(hash(request.node.nodeid))}"[:40]})
    yield made.id
    admin.delete_cluster(made.id)


@pytest.fixture
def secret_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "secret.yaml"
    path.write_text(SECRET)
    return path


@pytest.fixture
def configmap_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "configmap.yaml"
    path.write_text(CONFIGMAP)
    return path


@pytest.mark.parametrize(
    "create",
    [
        lambda mlp, cid, path: mlp.create_secret_from_yaml(cid, path),
        lambda mlp, cid, path: mlp.create_secret_from_yaml(cid, str(path)),
        lambda mlp, cid, path: mlp.create_secret_from_yaml(cid, str(path), "default"),
        lambda mlp, cid, path: mlp.create_secret_from_yaml(cluster_id=cid, secret_yaml_path=str(path)),
        lambda mlp, cid, path: mlp.create_secret_from_yaml(cid, secret_yaml_path=path, namespace="default", timeout=30),
    ],
)
def test_create_secret_call_forms(
    admin: MLPlatform, cluster: str, secret_yaml: Path, create: Callable[[MLPlatform, str, Path], K8sSecret]
) -> None:
    made = create(admin, cluster, secret_yaml)
    assert isinstance(made, K8sSecret)
    assert (made.name, made.type, made.namespace) == ("s3", "Opaque", "default")
    assert made.data == {"password": "********", "user": "********"}


@pytest.mark.parametrize(
    "create",
    [
        lambda mlp, cid, path: mlp.create_configmap_from_yaml(cid, path),
        lambda mlp, cid, path: mlp.create_configmap_from_yaml(cid, str(path), "default"),
        lambda mlp, cid, path: mlp.create_configmap_from_yaml(
            cluster_id=cid, configmap_yaml_path=str(path), namespace="default", timeout=30
        ),
    ],
)
def test_create_configmap_call_forms(
    admin: MLPlatform, cluster: str, configmap_yaml: Path, create: Callable[[MLPlatform, str, Path], K8sConfigmap]
) -> None:
    made = create(admin, cluster, configmap_yaml)
    assert isinstance(made, K8sConfigmap)
    assert (made.name, made.namespace) == ("conf", "default")
    assert made.data == {"level": "10", "log4j.properties": "x=1\ny=2\n"}


def test_a_secret_is_listed_looked_at_and_deleted(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform, cluster: str, secret_yaml: Path
) -> None:
    _, token = newcomer()
    anna = MLPlatform(token, url=platform.url)
    made = admin.create_secret_from_yaml(cluster, secret_yaml)
    for names in (
        anna.list_secrets(cluster),
        anna.list_secrets(cluster, "default"),
        anna.list_secrets(cluster_id=cluster, namespace="default"),
    ):
        assert isinstance(names, K8sObjectNamesList)
        assert (list(names), len(names), names[0], names[-1]) == (["s3-secret", "s3"], 2, "s3-secret", "s3")
        assert "s3" in names
        assert str(names) == "s3-secret\ns3"
    for detail in (
        anna.get_secret_detail(cluster, "s3"),
        anna.get_secret_detail(cluster, "s3", "default"),
        anna.get_secret_detail(cluster_id=cluster, secret_name="s3", namespace="default"),
    ):
        assert detail == made
        assert str(detail).splitlines() == [
            "name: s3",
            "type: Opaque",
            "namespace: default",
            "data: {'password': '********', 'user': '********'}",
        ]
        assert VALUE not in repr(detail)
    with pytest.raises(ConflictException, match="a secret named 's3' is in the namespace"):
        admin.create_secret_from_yaml(cluster, secret_yaml)
    admin.delete_secret(cluster, "s3")
    with pytest.raises(NotFoundException, match="there is no secret named 's3'"):
        admin.delete_secret(cluster_id=cluster, secret_name="s3", namespace="default")
    with pytest.raises(NotFoundException, match="list_secrets lists those there are"):
        anna.get_secret_detail(cluster, "s3")
    admin.delete_secret(cluster, "s3-secret")
    empty = anna.list_secrets(cluster)
    assert (list(empty), len(empty), str(empty), bool(empty)) == ([], 0, "", False)
    with pytest.raises(IndexError):
        empty[0]


def test_a_config_map_is_listed_looked_at_and_deleted(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform, cluster: str, configmap_yaml: Path
) -> None:
    _, token = newcomer()
    anna = MLPlatform(token, url=platform.url)
    made = admin.create_configmap_from_yaml(cluster, configmap_yaml)
    for names in (
        anna.list_configmaps(cluster),
        anna.list_configmaps(cluster, "default"),
        anna.list_configmaps(cluster_id=cluster, namespace="default"),
    ):
        assert [*names] == ["conf"]
    for detail in (
        anna.get_configmap_detail(cluster, "conf"),
        anna.get_configmap_detail(cluster, "conf", "default"),
        anna.get_configmap_detail(cluster_id=cluster, configmap_name="conf", namespace="default"),
    ):
        assert detail == made
        printed = yaml.safe_load(str(detail))
        assert list(printed) == ["data", "name", "namespace"]
        assert printed == {"data": made.data, "name": "conf", "namespace": "default"}
    admin.delete_configmap(cluster, "conf", "default")
    for call in (
        lambda: admin.delete_configmap(cluster_id=cluster, configmap_name="conf"),
        lambda: anna.get_configmap_detail(cluster, "conf"),
    ):
        with pytest.raises(NotFoundException, match="there is no config map named 'conf'"):
            call()


def test_a_config_map_with_values_that_are_no_text(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform, tmp_path: Path
) -> None:
    """They come back as they were given, and as in Kubernetes no job has them in its environment."""
    cluster, (_, token) = new_cluster(admin, "binary"), newcomer()
    anna, path, program = MLPlatform(token, url=platform.url), tmp_path / "configmap.yaml", tmp_path / "job.py"
    path.write_text(
        "kind: ConfigMap\nmetadata: {name: conf}\ndata: {LEVEL: info}\n"
        "binaryData:\n  key.jks: |\n    /u3+\n    7Q==\n  HIDDEN: b25l\n"
    )
    made = admin.create_configmap_from_yaml(cluster, path)
    assert (made.data, made.binary_data) == ({"LEVEL": "info"}, {"key.jks": "/u3+7Q==", "HIDDEN": "b25l"})
    detail = anna.get_configmap_detail(cluster, "conf")
    assert detail == made == pickle.loads(pickle.dumps(made)) != K8sConfigmap(made.data, "conf", "default")
    assert yaml.safe_load(str(detail)) == {
        "data": made.data, "binaryData": made.binary_data, "name": "conf", "namespace": "default",
    }  # fmt: skip
    program.write_text("env")
    driver = {"memory": "512m", "envFrom": [{"configMapRef": {"name": "conf"}}]}
    anna.spark_submit_job(cluster, manifest("env", driver=driver), program)
    log = anna.spark_job_logs(cluster, "env").logs
    assert "LEVEL=info\n" in log
    assert "HIDDEN" not in log
    anna.spark_delete_job(cluster, "env")
    admin.delete_cluster(cluster)


def test_names_are_a_list_of_values() -> None:
    names = K8sObjectNamesList(["a", "b", "c"])
    assert names == K8sObjectNamesList(("a", "b", "c"))
    assert hash(names) == hash(K8sObjectNamesList(["a", "b", "c"]))
    assert names != K8sObjectNamesList(["a"])
    assert list(names[1:]) == ["b", "c"]
    assert [*reversed(names)] == ["c", "b", "a"]
    assert str(names) == "a\nb\nc"
    assert repr(names) == "K8sObjectNamesList(names=('a', 'b', 'c'))"


def test_a_user_changes_nothing(
    newcomer: Newcomer, platform: LocalPlatform, cluster: str, secret_yaml: Path, configmap_yaml: Path
) -> None:
    name, token = newcomer()
    anna = MLPlatform(token, url=platform.url)
    for call in (
        lambda: anna.create_secret_from_yaml(cluster, secret_yaml),
        lambda: anna.delete_secret(cluster, "s3"),
        lambda: anna.create_configmap_from_yaml(cluster, configmap_yaml),
        lambda: anna.delete_configmap(cluster, "conf"),
    ):
        with pytest.raises(ForbiddenException) as caught:
            call()
        assert caught.value.field == f"{name} token does not contain the following scopes: ['ml-platform:Manage']"


def test_the_namespace_must_exist(admin: MLPlatform, cluster: str, secret_yaml: Path, configmap_yaml: Path) -> None:
    for call in (
        lambda: admin.create_secret_from_yaml(cluster, secret_yaml, "spark"),
        lambda: admin.list_secrets(cluster, "spark"),
        lambda: admin.get_secret_detail(cluster, "s3", namespace="spark"),
        lambda: admin.delete_secret(cluster, "s3", namespace="spark"),
        lambda: admin.create_configmap_from_yaml(cluster, configmap_yaml, namespace="spark"),
        lambda: admin.list_configmaps(cluster, namespace="spark"),
        lambda: admin.get_configmap_detail(cluster, "conf", "spark"),
        lambda: admin.delete_configmap(cluster, "conf", "spark"),
    ):
        with pytest.raises(NotFoundException, match="there is no namespace 'spark' in the cluster"):
            call()
    with pytest.raises(NotFoundException, match="there is no cluster with the id 'nowhere'"):
        admin.list_secrets("nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Secret\nmetadata:\nname: s3\ntype: Opaque\nstringData:\n  password: x\n",
        "apiVersion: v1\nkind: Secret\nmetadata:\nname: s3\ntype: Opaque\ndata:\npassword: eA==\n",
        "kind: Secret\nname: s3\nmetadata:\n  labels: {app: etl}\nstringData: {password: x}\n",
    ],
)
def test_published_manifests_that_lost_their_indentation(
    admin: MLPlatform, cluster: str, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(text)
    made = admin.create_secret_from_yaml(cluster, path)
    assert (made.name, list(made.data)) == ("s3", ["password"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Secret\nmetadata:\ndata:\nname: s3\n", "line 4: 'name' could belong to metadata or to data"),
        ("kind: Secret\nmetadata: {name: s3}\nmore: 1\n", "line 3: 'more' belongs to nothing here"),
        ("kind: ConfigMap\nmetadata: {name: s3}\n", "line 1: this is a ConfigMap: create_configmap_from_yaml takes it"),
        ("kind: Secret\nmetadata: {name: S_3}\n", "line 2: metadata.name: 'S_3' is not a name"),
        (f"kind: Secret\nmetadata: {{name: s3}}\ndata:\n  a: {VALUE}!\n", "line 4: the value of data.a is not base64"),
        (f"kind: Secret\nmetadata: {{name: s3}}\ndata:\n  a: [{VALUE}]\n", "line 4: data.a is a list"),
        (f"kind: Secret\nmetadata: {{name: s3}}\nstringData:\n  a: {VALUE}\n  a: 1\n", "line 5"),
        ("kind: Secret\nmetadata: {name: s3, namespace: etl}\n", "line 2: the manifest is for the namespace 'etl'"),
        ("", "line 1"),
        ("[" * 100_000, "line 1"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{k}: &{k} [{','.join(f'*{p}' for _ in range(9))}]\n"
         for p, k in zip("abcdefgh", "bcdefghi")), "line "),
        ("kind: Secret\nmetadata: {name: s3}\nstringData:\n  a: " + "x" * (1 << 20), "line |at most 1048576"),
        ("x" * (3 << 20), "MiB|bytes|large"),
        ("kind: Secret\n---\nkind: Secret\n", "line 2|line 3"),
        ("kind: !!python/object:os.system x\n", "line 1"),
    ],
)  # fmt: skip
def test_hostile_and_wrong_yaml_is_refused_with_its_line(
    admin: MLPlatform, cluster: str, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(BadRequestException, match=said) as caught:
        admin.create_secret_from_yaml(cluster, path)
    assert str(path) in str(caught.value)
    assert VALUE not in str(caught.value)
    assert caught.value.attempts == 0
    assert len(str(caught.value)) < 1000


def test_a_file_that_cannot_be_read(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(BadRequestException, match=r"secret_yaml_path: '.*': "):
            admin.create_secret_from_yaml(cluster, path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"kind: Secret\nx: \xff\n")
    with pytest.raises(BadRequestException, match=r"configmap_yaml_path: .*line 2.*UTF-8"):
        admin.create_configmap_from_yaml(cluster, binary)


def test_names_in_calls_have_rules(admin: MLPlatform, cluster: str) -> None:
    for name in ("", "..", "S3", "a/b"):
        with pytest.raises(BadRequestException, match=r"secret_name: .* is not a name of a Kubernetes object"):
            admin.get_secret_detail(cluster, name)
        with pytest.raises(BadRequestException, match=r"configmap_name: .* is not a name of a Kubernetes object"):
            admin.delete_configmap(cluster, name)


def test_unknown_keywords(admin: MLPlatform, cluster: str, secret_yaml: Path, configmap_yaml: Path) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: admin.create_secret_from_yaml(cluster, secret_yaml, namspace="x"),  # type: ignore[call-arg]
        lambda: admin.list_secrets(cluster, namspace="x"),  # type: ignore[call-arg]
        lambda: admin.get_secret_detail(cluster, "s3", namspace="x"),  # type: ignore[call-arg]
        lambda: admin.delete_secret(cluster, "s3", namspace="x"),  # type: ignore[call-arg]
        lambda: admin.delete_configmap(cluster, "conf", namspace="x"),  # type: ignore[call-arg]
    ]
    for call in calls:
        with pytest.raises(TypeError, match="did you mean 'namespace'"):
            call()
    with pytest.warns(UserWarning, match=r"create_configmap_from_yaml\(\) ignores the keyword argument 'dry_run'"):
        admin.create_configmap_from_yaml(cluster, configmap_yaml, dry_run=True)
    with pytest.warns(UserWarning, match=r"list_configmaps\(\) ignores the keyword argument 'limit'"):
        assert list(admin.list_configmaps(cluster, limit=5)) == ["conf"]


def test_a_mebibyte_fits(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    half = "x" * ((1 << 19) - 1)
    path.write_text(f"kind: Secret\nmetadata: {{name: large}}\nstringData:\n  a: {half}\n  b: {half}\n")
    assert sorted(admin.create_secret_from_yaml(cluster, path).data) == ["a", "b"]


def test_no_value_lies_open_on_the_disk(
    admin: MLPlatform, platform: LocalPlatform, cluster: str, secret_yaml: Path
) -> None:
    """The store, its log, the server's log: all that the data directory holds."""
    admin.create_secret_from_yaml(cluster, secret_yaml)
    folder = Path(platform.data_dir)
    assert stat.S_IMODE((folder / "secrets-key").stat().st_mode) == 0o600
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert VALUE.encode() not in content, path
            assert base64.b64encode(VALUE.encode()) not in content, path
