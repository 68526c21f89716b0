"""Spark Connect through the gateway: a stock client on the real Spark, and what the gateway refuses.

A Connect server starts in twenty seconds on an idle machine, so most tests share one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from jobs import manifest, until
from server_clock import ServerClock

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConfigurationException,
    ForbiddenException,
    NotFoundException,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("grpc") is None,
        reason="Spark or its Connect client is not installed: make .venv/.spark installs both",
    ),
]

if importlib.util.find_spec("grpc") is not None:
    from connects import SERVICE, Connected, call, field, frame, new_session, refusal, sql


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    with Connected(tmp_path_factory.mktemp("connect")) as served:
        yield served


@pytest.fixture(autouse=True)
def _no_remote() -> Iterator[None]:
    """pyspark remembers in the environment that it has connected."""
    before = dict(os.environ)
    yield
    for name in {name for name in os.environ if name.startswith("SPARK_")} - set(before):
        del os.environ[name]


@pytest.fixture(scope="module")
def token(served: Connected) -> str:
    return served.user("anna")


def session(remote: str) -> Any:
    from pyspark.sql import SparkSession

    return SparkSession.builder.remote(remote).create()


def audit(served: Connected, action: str) -> list[Any]:
    with served.admin() as admin:
        return [entry for entry in admin.get_audit() if entry.action == action]


def cause(error: BaseException) -> str:
    """An error with those that it came from."""
    texts = []
    at: BaseException | None = error
    while at is not None:
        texts.append(str(at))
        at = at.__cause__ or at.__context__
    return " | ".join(texts)


def test_the_protocol_is_as_the_gateway_knows_it() -> None:
    """The session is field 1 and the user field 2 of each request, and no method is unknown."""
    from pyspark.sql.connect.proto import base_pb2

    known = set(re.findall(r'name: "?(\w+)"?, runs', (ROOT / "crates/connect/src/method.rs").read_text()))
    known = (known - {"RELEASE_SESSION"}) | {"ReleaseSession"}
    service = base_pb2.DESCRIPTOR.services_by_name["SparkConnectService"]
    assert {method.name for method in service.methods} == known
    for method in service.methods:
        fields = {field.number: field.name for field in method.input_type.fields}
        assert (fields[1], fields[2]) == ("session_id", "user_context"), method.name
    assert {field.number for field in base_pb2.UserContext.DESCRIPTOR.fields}.isdisjoint({15})


def test_a_stock_client(served: Connected, token: str, tmp_path: Path) -> None:
    import pandas  # type: ignore[import-untyped]
    from pyspark.sql.functions import col, udf

    spark = session(served.remote(token))
    assert spark.sql("SELECT 1 AS one").collect()[0].one == 1
    assert spark.range(1000).groupBy((col("id") % 2).alias("odd")).count().orderBy("odd").collect()[1]["count"] == 500
    assert spark.range(3).select(udf(lambda n: n * 2, "long")("id")).toPandas().iloc[:, 0].tolist() == [0, 2, 4]
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert spark.createDataFrame(frame).toPandas().equals(frame)
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND") as caught:
        spark.sql("SELECT * FROM nowhere").collect()
    assert type(caught.value).__name__ == "AnalysisException"
    # What Spark 3 made of a cast that fails.
    assert spark.sql("SELECT cast('x' AS int)").collect()[0][0] is None
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"

    (tmp_path / "gateway_helper.py").write_text("def triple(n):\n    return 3 * n\n")
    spark.addArtifacts(str(tmp_path / "gateway_helper.py"), pyfile=True)

    def tripled(n: int) -> int:
        from gateway_helper import triple  # type: ignore[import-not-found]

        return triple(n)  # type: ignore[no-any-return]

    assert [row[0] for row in spark.range(3).select(udf(tripled, "long")("id")).collect()] == [0, 3, 6]
    # The bucket, under the name that jobs know it by.
    spark.range(5).write.mode("overwrite").parquet("s3a://spark-local/five")
    assert spark.read.parquet("s3a://spark-local/five").count() == 5
    spark.stop()

    again = session(served.remote(token, ";cluster=local"))
    assert again.range(4).count() == 4
    again.stop()
    until(lambda: len(audit(served, "close_spark_session")) >= 2, 20)
    opened, closed = audit(served, "open_spark_session"), audit(served, "close_spark_session")
    assert len(opened) >= 2
    assert "the client has ended it" in str(closed[-1].detail)
    with served.admin() as admin:
        assert "anna" in [info.name for info in admin.get_project_tokens_info() if info.last_used_at]


@pytest.mark.parametrize("form", ["spark-token={}", "x-vk-token=Bearer%20{}", "x-vk-token=Bearer {}"])
def test_each_published_form_of_the_token(served: Connected, token: str, form: str) -> None:
    spark = session(served.ready["connect_url"] + ";" + form.format(token))
    assert spark.range(2).count() == 2
    spark.stop()


def test_users_do_not_see_each_other(served: Connected, token: str) -> None:
    bert = served.user("bert")
    mine, own = new_session(), field(2, field(1, "anna"))
    metadata = ("spark-token", token)
    call(served.address, "ExecutePlan", sql(mine, "SELECT 1"), metadata)
    # The same session id, and the other's identity claimed in every way: another session all the same.
    call(served.address, "Config", config(mine, set_={"spark.sql.shuffle.partitions": "77"}), metadata)
    assert b"77" in b"".join(call(served.address, "Config", config(mine, get="spark.sql.shuffle.partitions"), metadata))
    with served.admin() as admin:
        (owner,) = [info.id for info in admin.get_project_tokens_info() if info.name == "anna"]
    own = field(2, field(1, owner))
    for message in [
        config(mine, get="spark.sql.shuffle.partitions"),
        config(mine, get="spark.sql.shuffle.partitions") + own,
        own + config(mine, get="spark.sql.shuffle.partitions") + own,
        own + own + config(mine, get="spark.sql.shuffle.partitions"),
    ]:
        answer = b"".join(call(served.address, "Config", message, ("spark-token", bert)))
        assert b"77" not in answer
        assert b"200" in answer
    # A session that only the other has.
    code, text = refusal(
        served.address, "ReattachExecute", field(1, mine) + own + field(3, new_session()), ("spark-token", bert)
    )
    assert code in ("INTERNAL", "NOT_FOUND"), text
    assert "INVALID_HANDLE" in text


def config(session_id: str, *, set_: dict[str, str] | None = None, get: str = "") -> bytes:
    if set_ is not None:
        pairs = b"".join(field(1, field(1, key) + field(2, value)) for key, value in set_.items())
        return field(1, session_id) + field(3, field(1, pairs))
    return field(1, session_id) + field(3, field(2, field(1, get)))


def test_what_is_no_request_is_refused(served: Connected, token: str) -> None:
    address, own = served.address, ("spark-token", token)
    message = sql(new_session(), "SELECT 1")
    for expected, metadata in [
        ("an access token is missing", ()),
        ("an access token is missing", (("x-token", token),)),
        ("an access token is missing", (("cookie", token),)),
        ("holds no access token", (("authorization", token),)),
        ("they differ", (own, ("x-vk-token", "Bearer mlpr_other"))),
    ]:
        code, text = refusal(address, "ExecutePlan", message, *metadata)
        assert (code, expected in text, token in text) == ("UNAUTHENTICATED", True, False), text
    code, text = refusal(address, "ExecutePlan", message, ("spark-token", "mlpr_" + "x" * 40))
    assert code == "UNAUTHENTICATED", text
    code, text = refusal(address, "ExecutePlan", message, own, ("cluster", "nowhere"))
    assert (code, "'nowhere'" in text) == ("NOT_FOUND", True), text
    for method in [
        "Shutdown",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/spark.connect.Other/ExecutePlan",
    ]:
        code, text = refusal(address, method, message, own)
        assert (code, "no method" in text) == ("UNIMPLEMENTED", True), text
    import grpc  # type: ignore[import-untyped]

    code, text = refusal(address, "ExecutePlan", message, own, compression=grpc.Compression.Gzip)
    assert (code, "compress" in text) == ("UNIMPLEMENTED", True), text
    for broken in [
        b"",
        field(3, b""),
        field(1, "short"),
        message + bytes([3 << 3 | 2, 14]),
        message + bytes([2 << 3, 1]),
    ]:
        code, text = refusal(address, "ExecutePlan", broken, own)
        assert (code, "no request of Spark Connect" in text) == ("INVALID_ARGUMENT", True), text


def test_strangers_on_the_port(served: Connected, token: str) -> None:
    host, port = served.address.split(":")
    strangers = [socket.create_connection((host, int(port)), 30) for _ in range(1000)]
    try:
        # They keep nobody out, and are closed.
        assert call(served.address, "ExecutePlan", sql(new_session(), "SELECT 1"), ("spark-token", token))
        for stranger in strangers:
            stranger.settimeout(60)
        assert ended(strangers[-1])
    finally:
        for stranger in strangers:
            stranger.close()
    for words in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4096), frame(b"x") * 100]:
        with socket.create_connection((host, int(port)), 30) as stranger:
            stranger.settimeout(60)
            stranger.sendall(words)
            answer = ended(stranger)
            assert b"HTTP/1.1 200" not in answer
            assert b"park" not in answer
    assert call(served.address, "ExecutePlan", sql(new_session(), "SELECT 1"), ("spark-token", token))


def ended(stranger: socket.socket) -> bytes:
    """What a connection is sent until it is closed."""
    answer = b""
    try:
        while piece := stranger.recv(65536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer or b"closed"


def test_an_interrupt_goes_through(served: Connected, token: str) -> None:
    from pyspark.sql.functions import udf

    spark = session(served.remote(token))
    caught: list[BaseException] = []

    def run() -> None:
        try:
            spark.range(1).select(udf(lambda _: __import__("time").sleep(600), "string")("id")).collect()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: bool(spark.interruptAll()), 120)
    thread.join(120)
    assert not thread.is_alive()
    assert "OPERATION_CANCELED" in cause(caught[0])
    spark.stop()


def test_a_deleted_token_ends_its_streams(served: Connected) -> None:
    import grpc

    token = served.user("carla")
    # More than is on its way, and no more than the server has memory for.
    query = sql(new_session(), "SELECT * FROM range(0, 30000000, 1, 100)")
    with grpc.insecure_channel(served.address) as channel:
        rows = channel.unary_stream(SERVICE + "ExecutePlan")(query, metadata=[("spark-token", token)], timeout=300)
        assert next(rows)
        with served.admin() as admin:
            admin.delete_token("carla")
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            sum(1 for _ in rows)
        # A second, and what a busy machine takes for the rest.
        assert time.monotonic() - began < 5
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "was deleted" in caught.value.details()
    code, _ = refusal(served.address, "ExecutePlan", query, ("spark-token", token))
    assert code == "UNAUTHENTICATED"
    until(lambda: "token deleted" in str([entry.detail for entry in audit(served, "close_spark_session")]), 20)


def test_sessions_are_seen_and_closed(served: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    token = served.user("emil")
    with MLPlatform(token, url=served.url) as mlp, served.admin() as admin:
        cluster = mlp.get_clusters()[0].id
        with pytest.raises(ConfigurationException, match="sc://HOST:PORT"):
            mlp.spark_session(remote=f"http://{served.address};token={token}")
        monkeypatch.setenv("MLP_SPARK_REMOTE", f"sc://{served.address}")
        conf: dict[str, Any] = {"spark.sql.shuffle.partitions": 5}
        spark = mlp.spark_session("local", **conf)
        assert spark.conf.get("spark.sql.shuffle.partitions") == "5"
        assert spark.range(10).count() == 10
        for shown in (repr(spark), repr(spark.client), str(vars(spark.client)), str(dict(os.environ)), repr(mlp)):
            assert token not in shown
        # The stream of an operation ends a moment after its result.
        until(lambda: mlp.get_spark_sessions(cluster)[0].running == 0, 20)
        (mine,) = mlp.get_spark_sessions(cluster)
        assert (mine.session_id, mine.token_name) == (spark.session_id, "emil")
        assert (mine.running, mine.operations >= 1, mine.address) == (0, True, "127.0.0.1")
        assert mine.opened_at <= mine.last_used_at
        assert mine.session_id in [info.session_id for info in admin.get_spark_sessions(cluster)]
        other = served.user("frieda")
        with MLPlatform(other, url=served.url) as stranger:
            assert stranger.get_spark_sessions(cluster) == []
            with pytest.raises(NotFoundException, match="no open session"):
                stranger.close_spark_session(cluster, mine.session_id)
            with pytest.raises(ForbiddenException):
                stranger.add_spark_connect_jars(cluster)
            with pytest.raises(ForbiddenException, match="everybody's sessions"):
                stranger.spark_delete_job(cluster, "spark-connect")
            with pytest.raises(BadRequestException, match="name of the cluster's Connect server"):
                stranger.spark_submit_job(cluster, manifest("spark-connect", mainApplicationFile="local:///opt/x.py"))

        caught: list[BaseException] = []

        def run() -> None:
            try:
                spark.range(10**12).selectExpr("sum(id * 2)").collect()
            except Exception as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: mlp.get_spark_sessions(cluster)[0].running == 1)
        mlp.close_spark_session(cluster, mine.session_id)
        thread.join(60)
        assert not thread.is_alive()
        assert "'emil' has closed it" in cause(caught[0])
        assert mlp.get_spark_sessions(cluster) == []
        with pytest.raises(NotFoundException):
            mlp.close_spark_session(cluster, mine.session_id)


class Cut:
    """Passes connections on, and can cut them."""

    def __init__(self, to: str) -> None:
        host, port = to.split(":")
        self._to, self._pairs = (host, int(port)), []  # type: ignore[var-annotated]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._pairs += [near, far]
            for one, other in [(near, far), (far, near)]:
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
        except OSError:
            pass

    def cut(self) -> None:
        pairs, self._pairs = self._pairs, []
        for end in pairs:
            end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_a_client_reattaches_after_a_cut(served: Connected, token: str) -> None:
    way = Cut(served.address)
    try:
        spark = session(f"sc://{way.address}/;spark-token={token}")
        rows = iter(spark.range(3_000_000).toLocalIterator())
        assert [next(rows).id for _ in range(10)] == list(range(10))
        way.cut()
        assert sum(1 for _ in rows) == 3_000_000 - 10
        spark.stop()
    finally:
        way.close()


def test_jars_are_loaded_by_another_server(served: Connected, token: str) -> None:
    jar = next(served.data.glob("buckets/*")) / "empty.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    spark = session(served.remote(token))
    assert spark.range(2).count() == 2
    server = backend(served)
    with served.admin() as admin:
        cluster = admin.get_clusters()[0].id
        with pytest.raises(BadRequestException, match="no entry of this list"):
            admin.add_spark_connect_jars(cluster, jars=["a b"])
        address = "s3a://spark-local/empty.jar"
        settings = admin.add_spark_connect_jars(cluster, jars=[address])
        assert str(settings).splitlines()[-1] == f"spark.jars {address}"
        assert f"spark.connect.grpc.binding.port {served.address.split(':')[1]}" in str(settings).splitlines()
        assert settings.ends_sessions >= 1
        assert admin.add_spark_connect_jars(cluster, jars=[address]).ends_sessions == 0
    until(lambda: not Path(f"/proc/{server}").exists(), 60)
    again = session(served.remote(token))
    assert again.range(2).count() == 2
    assert "empty.jar" in again.conf.get("spark.jars")
    again.stop()


def test_calls_keep_a_cluster_active_and_an_idle_server_does_not(tmp_path: Path, clock: ServerClock) -> None:
    with Connected(tmp_path) as served, served.admin() as admin:
        cluster = admin.get_clusters()[0].id
        admin.set_cluster_suspend_time(cluster, 5)
        token = served.user("gustav")
        spark = session(served.remote(token))
        assert spark.range(2).count() == 2
        server = backend(served)

        def run() -> None:
            with pytest.raises(Exception, match="OPERATION_CANCELED"):
                spark.sql("SELECT sum(id * 2) FROM range(1000000000000)").collect()

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: admin.get_spark_sessions(cluster)[0].running == 1)
        clock.advance(600)
        assert admin.get_cluster_info(cluster).status == "RUNNING"
        spark.interruptAll()
        thread.join(60)
        until(lambda: admin.get_spark_sessions(cluster)[0].running == 0)
        assert admin.get_cluster_info(cluster).status == "RUNNING"
        clock.advance(600)
        until(lambda: admin.get_cluster_info(cluster).status == "SHUTOFF", 30)
        until(lambda: not Path(f"/proc/{server}").exists(), 60)
        until(lambda: admin.get_spark_sessions(cluster) == [], 20)


def test_what_is_killed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = ("--connect-listen", f"127.0.0.1:{port}")
    first = Connected(tmp_path, *listen)
    token = first.user("dora")
    spark = session(first.remote(token))
    spark.range(3).createOrReplaceTempView("three")
    server = backend(first)

    first.process.kill()
    first.wait()
    with Connected(tmp_path, *listen) as second:
        # The server is the same, and so is the session.
        assert spark.sql("SELECT * FROM three").count() == 3
        assert backend(second) == server

        os.kill(server, signal.SIGKILL)
        with pytest.raises(Exception, match=r"SESSION_CHANGED|has ended|INVALID_HANDLE|NO_ACTIVE_SESSION"):
            spark.range(1).count()
        again = session(second.remote(token))
        assert again.range(3).count() == 3
        assert backend(second) != server
        until(lambda: any("server has ended" in str(e.detail) for e in audit(second, "close_spark_session")), 20)
        again.stop()
        # Each session that was opened was closed, but for those that are open: the first client has tried again.
        with second.admin() as admin:
            cluster = admin.get_clusters()[0].id
            until(lambda: again.session_id not in [info.session_id for info in admin.get_spark_sessions(cluster)], 20)
            left = len(audit(second, "open_spark_session")) - len(audit(second, "close_spark_session"))
            assert left == len(admin.get_spark_sessions(cluster))
        last = backend(second)
        second.stop()
        until(lambda: not Path(f"/proc/{last}").exists(), 30)


def backend(served: Connected) -> int:
    """The process of the Connect server."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"SparkConnectServer" in line and str(served.data).encode() in line and b"java" in line.split(b"\0")[0]:
            found.append(int(entry.name))
    (process,) = found
    return process
