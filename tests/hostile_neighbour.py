"""What a job tries on another: the program of test_jobs_apart.py that runs as a job on Spark.

It is given the folders of the victim, its processes, its ports and its System V objects, as no real attacker would be,
and prints what became of each attempt: `denied` and why, or `got` and what.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.mmap.restype = ctypes.c_void_p
# How Spark's authentication refuses (JVM), and PySpark's (its daemon tells the worker's pid before).
REFUSED = re.compile(rb"Sasl|sasl|AuthProtocol|Unexpected|\A.{8}err\Z", re.DOTALL)
PTRACE_ATTACH = 16
PTRACE_SEIZE = 0x4206


def call(result: int | None) -> object:
    """What a function of the C library returned; as an exception if it failed."""
    failed = ctypes.c_ssize_t(result or 0).value == -1
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def peek(pid: int) -> object:
    """Some of its memory, by the system call for it."""
    buffer = ctypes.create_string_buffer(16)

    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here = Part(ctypes.cast(buffer, ctypes.c_void_p), 16)
    there = Part(0x400000, 16)
    return call(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))


def exchange(port: int, message: bytes) -> bytes:
    """What a port answers to that."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(message)
        connection.settimeout(3)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            pass
    return answer


def gateway(port: int) -> bytes:
    """Python's way into the JVM: without the secret, no command is taken."""
    answer = exchange(port, b"c\nz:java.lang.System\ngetenv\ne\n")
    if answer.startswith(b"!y"):
        return answer
    raise PermissionError(repr(answer[:60]))


def spark_message(port: int) -> bytes:
    """A request of Spark's own protocol, without the secret: an RPC, which asks for nothing that could be served."""
    body = b"\x00\x00\x00\x00nothing"
    head = struct.pack(">bqi", 3, 4711, len(body))
    answer = exchange(port, struct.pack(">q", 8 + len(head) + len(body)) + head + body)
    if not answer or REFUSED.search(answer):
        raise PermissionError(repr(answer[:400]))
    return answer


def spark_file(port: int, path: str) -> bytes:
    """A file that the driver serves to its executors."""
    answer = exchange(port, struct.pack(">qbi", 13 + len(path), 6, len(path)) + path.encode())
    # Of the type StreamResponse, and nothing else.
    if answer[8:9] == b"\x07":
        return answer
    raise PermissionError(repr(answer[:400]))


def page(port: int) -> bytes:
    """Spark's page, or a metrics servlet."""
    answer = exchange(port, b"GET /environment/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    if b"HTTP/1.1" in answer:
        return answer
    raise PermissionError("no page")


def read(path: str) -> object:
    return Path(path).read_bytes()[:60]


def enter(path: str) -> object:
    os.chdir(path)
    return Path.cwd()


def append(path: str) -> object:
    with open(path, "ab") as file:
        return file.write(b"x")


def make(path: str) -> object:
    return Path(path).write_bytes(b"x")


def link(path: str) -> None:
    os.link(path, "linked", follow_symlinks=False)


def on_path(path: str) -> dict[str, Callable[[], object]]:
    return {
        "read": partial(read, path),
        "list": partial(os.listdir, path),
        "write": partial(append, path),
        "make in": partial(make, f"{path}/made"),
        "enter": partial(enter, path),
        "chmod": partial(Path(path).chmod, 0o777),
        "rename": partial(os.rename, path, f"{path}.moved"),
        "link": partial(link, path),
    }


def ptrace(request: int, pid: int) -> object:
    return call(libc.ptrace(request, pid, 0, 0))


def on_process(pid: int) -> dict[str, Callable[[], object]]:
    folder = f"/proc/{pid}"
    files = "environ mem maps cmdline status stat auxv stack fd/1 cwd/x root/etc/passwd"
    tries: dict[str, Callable[[], object]] = {name: partial(read, f"{folder}/{name}") for name in files.split()}
    tries |= {f"list {name}": partial(os.listdir, f"{folder}/{name}") for name in ("fd", "task", "cwd/", "map_files")}
    tries |= {f"link {name}": partial(os.readlink, f"{folder}/{name}") for name in ("cwd", "exe", "root")}
    tries |= {f"signal {number}": partial(os.kill, pid, number) for number in (0, signal.SIGCONT, signal.SIGKILL)}
    return tries | {
        "ptrace": partial(ptrace, PTRACE_ATTACH, pid),
        "seize": partial(ptrace, PTRACE_SEIZE, pid),
        "process_vm_readv": partial(peek, pid),
        "oom": partial(append, f"{folder}/oom_score_adj"),
        "priority": partial(os.setpriority, os.PRIO_PROCESS, pid, 19),
        "affinity": partial(os.sched_setaffinity, pid, {0}),
    }


def system_v(name: str, *arguments: int | None) -> object:
    return call(getattr(libc, name)(*arguments))


def attempts(victim: dict[str, Any]) -> dict[str, Callable[[], object]]:
    tries: dict[str, Callable[[], object]] = {}
    for what, path in victim["paths"].items():
        tries |= {f"{how} {what}": attempt for how, attempt in on_path(path).items()}
    for what, pid in victim["pids"].items():
        tries |= {f"{what} {how}": attempt for how, attempt in on_process(pid).items()}
    shared = victim["system v"]
    tries |= {
        "shmget": partial(system_v, "shmget", shared["key"], 0, 0),
        "shmat": partial(system_v, "shmat", shared["memory"], None, 0),
        "shmctl remove": partial(system_v, "shmctl", shared["memory"], 0, None),
        "semget": partial(system_v, "semget", shared["key"], 0, 0),
        "semctl remove": partial(system_v, "semctl", shared["semaphores"], 0, 0, None),
    }
    for port in victim["ports"]:
        tries |= {f"port {port} {ask.__name__}": partial(ask, port) for ask in (gateway, spark_message, page)}
        tries |= {f"port {port} file {path}": partial(spark_file, port, path) for path in victim["served"]}
    return tries


def main() -> None:
    told = {}
    for name, attempt in attempts(json.loads(sys.argv[1])).items():
        try:
            told[name] = f"got {attempt()!r}"
        except (OSError, ValueError) as error:
            told[name] = f"denied {error}"
    print("told:", json.dumps(told))


main()
