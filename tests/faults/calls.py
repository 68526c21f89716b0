"""Every method of `MLPlatform` that asks the platform something: how it is called, and how it is seen what it has done.

A method that is not here fails `test_faults.py`: add its line. `made` counts, in the platform's own books, what one
call may do once and no oftener; a method that only reads makes nothing.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import stores
from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

_numbers = itertools.count(1)


def fresh_name() -> str:
    return f"subject-{next(_numbers)}"


def count(platform: LocalPlatform, query: str, *values: str) -> int:
    """A number out of the platform's store."""
    return int(stores.query(platform.data_dir, query, *values)[0])


def register(admin: MLPlatform, name: str) -> str:
    return admin.create_register_token(name, "10m", token_type=MLPTokenType.USER)


def redeemed(admin: MLPlatform, name: str) -> str:
    return admin.create_refresh_token(register(admin, name))


def _named(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    redeemed(admin, name)
    return name


def _issuer(admin: MLPlatform, name: str, platform: LocalPlatform) -> str:
    """An Administrator who has issued one token."""
    token = admin.create_refresh_token(admin.create_register_token(name, "10m", token_type=MLPTokenType.ADMIN))
    with MLPlatform(token, url=platform.url) as issuer:
        redeemed(issuer, f"{name}-issued")
    return name


def _waiting(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    """The id of a registration token of that name."""
    register(admin, name)
    return next(info.id for info in admin.get_register_tokens_info() if info.client_name == name)


def _local(admin: MLPlatform, _name: str, _: LocalPlatform) -> str:
    """The id of the cluster that every platform has."""
    return next(info.id for info in admin.get_clusters() if info.name == "local")


def _cluster(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    return admin.create_cluster({"name": name}).id


def _sleeping(admin: MLPlatform, name: str, platform: LocalPlatform) -> str:
    """A cluster that was suspended long ago: to wait for that takes minutes."""
    cluster_id = _cluster(admin, name, platform)
    stores.query(platform.data_dir, "UPDATE clusters SET phase = 'suspend', phase_since = 1 WHERE id = ?", cluster_id)
    return cluster_id


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="mlplatform-manifests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _manifest(admin: MLPlatform, name: str, kind: str) -> tuple[str, str]:
    """The id of a new cluster of that name, and the path of an object's manifest of that name."""
    path = Path(_folder(), f"{name}.yaml")
    path.write_text(f"kind: {kind}\nmetadata: {{name: {name}}}\ndata: {{key: dmFsdWU=}}\n")
    return admin.create_cluster({"name": name}).id, str(path)


def _secret_yaml(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    return " ".join(_manifest(admin, name, "Secret"))


def _configmap_yaml(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    return " ".join(_manifest(admin, name, "ConfigMap"))


def _secret(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    cluster, path = _manifest(admin, name, "Secret")
    return f"{cluster} {admin.create_secret_from_yaml(cluster, path).name}"


def _configmap(admin: MLPlatform, name: str, _: LocalPlatform) -> str:
    cluster, path = _manifest(admin, name, "ConfigMap")
    return f"{cluster} {admin.create_configmap_from_yaml(cluster, path).name}"


_OBJECTS = "SELECT count(*) FROM objects WHERE name = ?"


# Asks for more than the cluster has: it is accepted and waits, and costs nothing.
_WAITING_JOB = {
    "apiVersion": "sparkoperator.k8s.io/v1beta2",
    "kind": "SparkApplication",
    "spec": {
        "type": "Scala",
        "sparkVersion": "4.3.0",
        "mainClass": "None",
        "mainApplicationFile": "local:///",
        "driver": {},
        "executor": {"instances": 1000},
    },
}


def _submit(mlp: MLPlatform, given: str) -> object:
    cluster_id, name = given.split()
    return mlp.spark_submit_job(cluster_id, {**_WAITING_JOB, "metadata": {"name": name}})


def _job(admin: MLPlatform, name: str, platform: LocalPlatform) -> str:
    """The cluster and the name of a job to come."""
    return f"{_local(admin, name, platform)} {name}"


def _submitted(admin: MLPlatform, name: str, platform: LocalPlatform) -> str:
    given = _job(admin, name, platform)
    _submit(admin, given)
    return given


def _completed(admin: MLPlatform, name: str, platform: LocalPlatform) -> str:
    """A job that has ended. The platform's jobs are shell scripts."""
    cluster_id = _local(admin, name, platform)
    program = Path(_folder()) / f"{name}.py"
    program.write_text("exit 0\n")
    admin.spark_submit_job(cluster_id, manifest(name), program)
    admin.wait_for_spark_job(cluster_id, name)
    return f"{cluster_id} {name}"


@dataclass(frozen=True)
class Call:
    run: Callable[[MLPlatform, str], object]
    # What `run` gets: the name, or what was made for it beforehand.
    prepare: Callable[[MLPlatform, str, LocalPlatform], str] = lambda _admin, name, _platform: name
    # Counts by the name.
    made: str | None = None


def _audited(action: str, subject: str) -> str:
    """How often it was done to what the query finds by the name."""
    return (
        f"SELECT count(*) FROM audit WHERE action = '{action}' AND outcome = 'done' "  # noqa: S608 - ours
        f"AND subject = ({subject} = ?)"
    )


CALLS: dict[str, Call] = {
    "create_session": Call(lambda mlp, _: mlp.who_am_i()),
    "create_register_token": Call(
        register,
        made="SELECT count(*) FROM register_tokens "
        "WHERE client_name = ? AND redeemed_at IS NULL AND withdrawn_at IS NULL",
    ),
    "get_register_tokens_info": Call(lambda mlp, _: mlp.get_register_tokens_info()),
    "delete_register_token": Call(
        lambda mlp, token_id: mlp.delete_register_token(token_id),
        prepare=_waiting,
        made=_audited("delete_register_token", "SELECT id FROM register_tokens WHERE client_name"),
    ),
    "create_refresh_token": Call(
        lambda mlp, token: mlp.create_refresh_token(token),
        prepare=lambda admin, name, _: register(admin, name),
        made="SELECT count(*) FROM tokens WHERE name = ? AND deleted_at IS NULL",
    ),
    "delete_token": Call(
        lambda mlp, name: mlp.delete_token(name),
        prepare=_named,
        made=_audited("delete_token", "SELECT id FROM tokens WHERE name"),
    ),
    "rotate_token": Call(
        lambda mlp, name: mlp.rotate_token(name),
        prepare=_named,
        made="SELECT count(*) FROM token_secrets s JOIN tokens t ON t.id = s.token_id "
        "WHERE t.name = ? AND s.ends_at IS NULL AND s.rotated_by IS NOT NULL",
    ),
    "delete_issuer_tokens": Call(
        lambda mlp, name: mlp.delete_issuer_tokens(name),
        prepare=_issuer,
        made="SELECT count(*) FROM audit WHERE action = 'delete_issuer_tokens' AND outcome = 'done' "
        "AND subject IN (SELECT id FROM tokens WHERE issuer_name = ?)",
    ),
    "who_am_i": Call(lambda mlp, _: mlp.who_am_i()),
    "get_project_tokens_info": Call(lambda mlp, _: mlp.get_project_tokens_info()),
    "get_audit": Call(lambda mlp, _: mlp.get_audit()),
    "create_cluster": Call(
        lambda mlp, name: mlp.create_cluster({"name": name}),
        made="SELECT count(*) FROM clusters WHERE name = ?",
    ),
    "get_clusters": Call(lambda mlp, _: mlp.get_clusters()),
    "get_cluster_info": Call(lambda mlp, cluster_id: mlp.get_cluster_info(cluster_id), prepare=_local),
    "delete_cluster": Call(
        lambda mlp, cluster_id: mlp.delete_cluster(cluster_id),
        prepare=_cluster,
        made=_audited("delete_cluster", "SELECT id FROM clusters WHERE name"),
    ),
    "set_cluster_delete_time": Call(lambda mlp, cluster_id: mlp.set_cluster_delete_time(cluster_id, 90), _cluster),
    "remove_cluster_delete_time": Call(lambda mlp, cluster_id: mlp.remove_cluster_delete_time(cluster_id), _cluster),
    "set_cluster_suspend_time": Call(lambda mlp, cluster_id: mlp.set_cluster_suspend_time(cluster_id, 90), _cluster),
    "remove_cluster_suspend_time": Call(lambda mlp, cluster_id: mlp.remove_cluster_suspend_time(cluster_id), _cluster),
    "wake_up_cluster": Call(
        lambda mlp, cluster_id: mlp.wake_up_cluster(cluster_id),
        prepare=_sleeping,
        made=_audited("wake_up_cluster", "SELECT id FROM clusters WHERE name"),
    ),
    "create_secret_from_yaml": Call(
        lambda mlp, given: mlp.create_secret_from_yaml(*given.split(" ", 1)), prepare=_secret_yaml, made=_OBJECTS
    ),
    "list_secrets": Call(lambda mlp, cluster: mlp.list_secrets(cluster), prepare=_cluster),
    "get_secret_detail": Call(lambda mlp, given: mlp.get_secret_detail(*given.split()), prepare=_secret),
    "delete_secret": Call(
        lambda mlp, given: mlp.delete_secret(*given.split()),
        prepare=_secret,
        made=_audited("delete_secret", "SELECT id FROM clusters WHERE name"),
    ),
    "create_configmap_from_yaml": Call(
        lambda mlp, given: mlp.create_configmap_from_yaml(*given.split(" ", 1)), prepare=_configmap_yaml, made=_OBJECTS
    ),
    "list_configmaps": Call(lambda mlp, cluster: mlp.list_configmaps(cluster), prepare=_cluster),
    "get_configmap_detail": Call(lambda mlp, given: mlp.get_configmap_detail(*given.split()), prepare=_configmap),
    "delete_configmap": Call(
        lambda mlp, given: mlp.delete_configmap(*given.split()),
        prepare=_configmap,
        made=_audited("delete_configmap", "SELECT id FROM clusters WHERE name"),
    ),
    "spark_submit_job": Call(_submit, _job, made="SELECT count(*) FROM jobs WHERE name = ?"),
    "spark_jobs_list": Call(lambda mlp, cluster_id: mlp.spark_jobs_list(cluster_id), _local),
    "spark_job_info": Call(lambda mlp, given: mlp.spark_job_info(*given.split()), _submitted),
    "spark_job_logs": Call(lambda mlp, given: mlp.spark_job_logs(*given.split(), wait=0), _submitted),
    "describe_spark_job": Call(lambda mlp, given: mlp.describe_spark_job(*given.split()), _submitted),
    "spark_delete_job": Call(
        lambda mlp, given: mlp.spark_delete_job(*given.split()),
        prepare=_submitted,
        made=_audited("spark_delete_job", "SELECT id FROM jobs WHERE name"),
    ),
    "spark_events": Call(lambda mlp, cluster_id: mlp.spark_events(cluster_id), _local),
    "wait_for_spark_job": Call(lambda mlp, given: mlp.spark_job(*given.split()).wait(), _completed),
    "spark_job_explain": Call(lambda mlp, given: mlp.spark_job_explain(*given.split()), _submitted),
    "top_nodes_info": Call(lambda mlp, cluster_id: mlp._top_nodes_info(cluster_id, None), _local),
    "get_spark_sessions": Call(lambda mlp, cluster_id: mlp.get_spark_sessions(cluster_id), _local),
    "add_spark_connect_jars": Call(
        lambda mlp, cluster_id: mlp.add_spark_connect_jars(cluster_id, packages=["org.example:library:1.0"]), _cluster
    ),
}
# Of the session of a service user test_v2.py has tests; a session of Spark needs Spark (test_connect.py).
ELSEWHERE = {"create_oauth_token", "close_spark_session"}
