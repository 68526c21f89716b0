"""The job of test_jobs_apart.py on which others try what they can: holds secrets in every place, and says where."""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import time
from pathlib import Path

from pyspark.sql import SparkSession

libc = ctypes.CDLL(None, use_errno=True)
IPC_CREAT = 0o1000

spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
secret = os.environ["KEY"]
held = context.broadcast([secret] * 10_000)
assert context.parallelize(range(4), 2).map(lambda number: held.value[number]).count() == 4

work = Path.home()
(work / "kept").write_text(secret)
# What a program does that asks for no privacy.
(work / "open").write_text(secret)
(work / "open").chmod(0o666)
files = {"tmp file": tempfile.mkstemp(dir="/tmp")[1], "shm file": tempfile.mkstemp(dir="/dev/shm")[1]}
files["plain tmp file"] = f"/tmp/plain-{os.getpid()}"
files["plain shm file"] = f"/dev/shm/plain-{os.getpid()}"
for file in files.values():
    Path(file).write_text(secret)
key = os.getpid()
shared = {
    "key": key,
    "memory": libc.shmget(key, 4096, IPC_CREAT | 0o666),
    "semaphores": libc.semget(key, 1, IPC_CREAT | 0o666),
}
assert -1 not in shared.values()

# The driver serves it to executors.
context.addFile(str(work / "kept"))

user = os.getuid()
ports = []
for table in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in Path(table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[7]) == user:
            ports.append(int(fields[1].split(":")[1], 16))
java = next(int(path.name) for path in Path("/proc").glob("[0-9]*") if (path / "comm").read_text() == "java\n")
told = {
    "user": user,
    "authenticate": context.getConf().get("spark.authenticate"),
    "secret in conf": context.getConf().get("spark.authenticate.secret", None),
    "ui": context.uiWebUrl,
    "files": files,
    "pids": {"python": os.getpid(), "java": java},
    "ports": ports,
    "system v": shared,
    "served": ["/files/kept"],
}
print("victim:", json.dumps(told), flush=True)
end = time.monotonic() + 600
while not (work / "stop").exists() and time.monotonic() < end:
    time.sleep(0.2)
assert (work / "kept").read_text() == secret
for file in files.values():
    assert Path(file).read_text() == secret
    Path(file).unlink()
assert libc.shmget(key, 0, 0) == shared["memory"]
assert context.parallelize(range(4), 2).map(lambda number: held.value[number] == secret).collect() == [True] * 4
print("unharmed")
