"""A stand-in for the Spark operator: its documented transitions and events, around drivers that it makes itself.

It runs no `spark-submit`, and a driver without executors. What it does with an application: "" → SUBMITTED → RUNNING →
SUCCEEDING → COMPLETED, or FAILING → PENDING_RERUN → SUBMITTED …, at last FAILED; SUBMISSION_FAILED where the API
refuses the driver's pod. A rerun deletes the driver's pod of the attempt before, and with it the log.
"""

from __future__ import annotations

import copy
import secrets
import threading
import time
from datetime import datetime, timezone
from typing import Any

from kubernetes.api import Api, ApiError, Object, follow

GROUP = "/apis/sparkoperator.k8s.io/v1beta2"
CONTAINER = "spark-kubernetes-driver"
SUBMISSION = "sparkoperator.k8s.io/submission-id"


def now() -> str:
    """The time, as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def version(item: Object) -> int:
    """Higher after each change."""
    return int(item["metadata"]["resourceVersion"])


def status_of(application: Object) -> Object:
    """A copy of its status, with the parts that are read."""
    status: Object = copy.deepcopy(application.get("status") or {})
    status.setdefault("applicationState", {"state": ""})
    return status


def merged(base: Any, over: Any) -> Any:
    """Two pod templates in one: of lists of named things, those of the same name are one."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in {**base, **over}}
    if isinstance(base, list) and isinstance(over, list):
        names = [item.get("name") for item in over]
        kept = [item for item in base if item.get("name") not in names]
        return kept + [merged(next((b for b in base if b.get("name") == o.get("name")), None), o) for o in over]
    return base if over is None else over


class OperatorStandIn:
    """Looks after the applications of all namespaces until `end`."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.ended = threading.Event()
        self.lock = threading.RLock()
        self.applications: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        watches = [(f"{GROUP}/sparkapplications", self._application), ("/api/v1/pods", self._pod)]
        self.threads = [
            threading.Thread(target=follow, args=(api, path, obey, self.ended), daemon=True) for path, obey in watches
        ]
        self.threads.append(threading.Thread(target=self._reruns, daemon=True))

    def start(self) -> None:
        """Begins."""
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Looks at nothing any more."""
        self.ended.set()

    def _application(self, kind: str, application: Object) -> None:
        uid = application["metadata"]["uid"]
        with self.lock:
            if kind == "DELETED":
                self.applications.pop(uid, None)
                return
            if version(application) >= version(self.applications.get(uid, application)):
                self.applications[uid] = application
                self._step(application)

    def _pod(self, kind: str, pod: Object) -> None:
        owner: Object = next(iter(pod["metadata"].get("ownerReferences", [])), {})
        if owner.get("kind") != "SparkApplication":
            return
        with self.lock:
            uid = owner["uid"]
            if kind == "DELETED":
                if self.pods.get(uid, {}).get("metadata", {}).get("uid") == pod["metadata"]["uid"]:
                    del self.pods[uid]
            else:
                self.pods[uid] = pod
            if uid in self.applications:
                self._step(self.applications[uid])

    def _reruns(self) -> None:
        while not self.ended.wait(0.2):
            with self.lock:
                for application in list(self.applications.values()):
                    if status_of(application)["applicationState"]["state"] in ("PENDING_RERUN", "SUBMISSION_FAILED"):
                        self._step(application)

    def _step(self, application: Object) -> None:
        if application["metadata"].get("deletionTimestamp"):
            return
        try:
            self._move(application)
        except ApiError as error:
            # It is gone, or somebody else has changed it: the watch says so.
            if error.status not in (404, 409):
                raise

    def _move(self, application: Object) -> None:
        status = status_of(application)
        state, uid = status["applicationState"]["state"], application["metadata"]["uid"]
        policy = application["spec"].get("restartPolicy", {})
        pod = self.pods.get(uid)
        if pod and pod["metadata"]["labels"].get(SUBMISSION) != status.get("submissionID"):
            # Of another attempt: the watch has not caught up.
            pod = None
        if state == "":
            self._submit(application, status)
        elif state == "SUBMITTED" and pod and pod["status"].get("phase") in ("Running", "Succeeded", "Failed"):
            self._set(application, status, "RUNNING")
            self._say(application, "SparkDriverRunning", f"Driver {pod['metadata']['name']} is running")
        elif state in ("SUBMITTED", "RUNNING") and pod is None and self._is_gone(application, status):
            self._fail(application, status, "driver pod not found")
        elif state == "RUNNING" and pod and pod["status"].get("phase") == "Succeeded":
            status["terminationTime"] = now()
            self._set(application, status, "SUCCEEDING")
            self._say(application, "SparkDriverCompleted", f"Driver {pod['metadata']['name']} completed")
        elif state == "RUNNING" and pod and pod["status"].get("phase") == "Failed":
            self._fail(application, status, failure(pod))
        elif state == "SUCCEEDING":
            if policy.get("type") == "Always":
                self._rerun_later(application, status)
            else:
                self._set(application, status, "COMPLETED")
                self._say(application, "SparkApplicationCompleted", "SparkApplication completed")
        elif state == "FAILING":
            self._after_failure(application, status, policy)
        elif state == "SUBMISSION_FAILED":
            self._after_submission_failure(application, status, policy)
        elif state == "PENDING_RERUN":
            self._rerun(application, status, policy)

    def _is_gone(self, application: Object, status: Object) -> bool:
        """What the watch does not show may be there all the same."""
        name, space = status["driverInfo"]["podName"], application["metadata"]["namespace"]
        try:
            self.api.call("GET", f"/api/v1/namespaces/{space}/pods/{name}")
        except ApiError as error:
            return error.status == 404
        return False

    def _fail(self, application: Object, status: Object, why: str) -> None:
        status["terminationTime"] = now()
        self._set(application, status, "FAILING", why)
        self._say(
            application, "SparkDriverFailed", f"Driver {status['driverInfo']['podName']} failed: {why}", "Warning"
        )

    def _after_failure(self, application: Object, status: Object, policy: Object) -> None:
        attempts = status.get("executionAttempts", 0)
        again = policy.get("type") == "Always" or (
            policy.get("type") == "OnFailure" and attempts <= policy.get("onFailureRetries", 0)
        )
        if again:
            self._rerun_later(application, status)
        else:
            why = status["applicationState"].get("errorMessage", "")
            self._set(application, status, "FAILED", why)
            self._say(application, "SparkApplicationFailed", f"SparkApplication failed: {why}", "Warning")

    def _after_submission_failure(self, application: Object, status: Object, policy: Object) -> None:
        attempts = status.get("submissionAttempts", 0)
        again = policy.get("type") == "Always" or (
            policy.get("type") == "OnFailure" and attempts <= policy.get("onSubmissionFailureRetries", 0)
        )
        if not again:
            self._set(application, status, "FAILED", status["applicationState"].get("errorMessage", ""))
        elif self._has_passed(status.get("lastSubmissionAttemptTime"), policy, "onSubmissionFailureRetryInterval"):
            self._submit(application, status)

    def _rerun_later(self, application: Object, status: Object) -> None:
        self._set(application, status, "PENDING_RERUN", status["applicationState"].get("errorMessage", ""))
        self._say(application, "SparkApplicationPendingRerun", "SparkApplication is pending rerun", "Warning")

    def _rerun(self, application: Object, status: Object, policy: Object) -> None:
        if not self._has_passed(status.get("terminationTime"), policy, "onFailureRetryInterval"):
            return
        name, space = status["driverInfo"]["podName"], application["metadata"]["namespace"]
        try:
            self.api.call("DELETE", f"/api/v1/namespaces/{space}/pods/{name}")
        except ApiError as error:
            if error.status != 404:
                raise
            self._submit(application, status)

    def _has_passed(self, since: str | None, policy: Object, field: str) -> bool:
        if not since:
            return True
        begin = datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        return time.time() - begin.timestamp() >= float(policy.get(field, 5))

    def _submit(self, application: Object, status: Object) -> None:
        space = application["metadata"]["namespace"]
        submission = secrets.token_hex(8)
        pod = driver(application, submission)
        status["lastSubmissionAttemptTime"] = now()
        status["submissionAttempts"] = status.get("submissionAttempts", 0) + 1
        try:
            self.api.call("POST", f"/api/v1/namespaces/{space}/pods", pod)
        except ApiError as error:
            if error.status == 409:
                # Of an attempt before.
                return
            why = f"failed to run spark-submit: {error}"
            self._set(application, status, "SUBMISSION_FAILED", why)
            self._say(application, "SparkApplicationSubmissionFailed", why, "Warning")
            return
        status["executionAttempts"] = status.get("executionAttempts", 0) + 1
        status.update(submissionID=submission, driverInfo={"podName": pod["metadata"]["name"]}, terminationTime=None)
        self._set(application, status, "SUBMITTED")
        self._say(application, "SparkApplicationSubmitted", "SparkApplication was submitted successfully")

    def _set(self, application: Object, status: Object, state: str, why: str = "") -> None:
        status["applicationState"] = {"state": state, **({"errorMessage": why} if why else {})}
        metadata = application["metadata"]
        path = f"{GROUP}/namespaces/{metadata['namespace']}/sparkapplications/{metadata['name']}/status"
        # What comes next, the watch brings about.
        found = self.api.patch(path, {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status})
        self.applications[metadata["uid"]] = found

    def _say(self, application: Object, reason: str, message: str, kind: str = "Normal") -> None:
        metadata = application["metadata"]
        event = {
            "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "sparkoperator.k8s.io/v1beta2",
                "kind": "SparkApplication",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "spark-application-controller"},
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self.api.call("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", event)


def failure(pod: Object) -> str:
    """How the operator words the end of a driver that failed."""
    for container in pod["status"].get("containerStatuses", []):
        ended = container["state"].get("terminated")
        if container["name"] == CONTAINER and ended:
            return f"driver container failed with ExitCode: {ended['exitCode']}, Reason: {ended.get('reason', '')}"
    return "driver container status missing"


def mounts(spec: Object, asked: Object) -> tuple[list[Object], list[Object]]:
    """The volumes of a pod and its mounts, as the operator's webhook adds them."""
    volumes, mounted = [], list(asked.get("volumeMounts", []))
    names = [mount["name"] for mount in mounted]
    volumes += [volume for volume in spec.get("volumes", []) if volume["name"] in names]
    for field, source, name in (("configMaps", "configMap", "name"), ("secrets", "secret", "secretName")):
        for item in asked.get(field, []):
            volume = f"{item['name']}-vol"
            volumes.append({"name": volume, source: {name: item["name"]}})
            mounted.append({"name": volume, "mountPath": item["path"]})
    return volumes, mounted


def driver(application: Object, submission: str) -> Object:
    """The driver's pod."""
    metadata, spec = application["metadata"], application["spec"]
    asked = spec.get("driver", {})
    labels = {
        **asked.get("labels", {}),
        "sparkoperator.k8s.io/app-name": metadata["name"],
        SUBMISSION: submission,
        "sparkoperator.k8s.io/launched-by-spark-operator": "true",
        "spark-role": "driver",
    }
    properties = [part for key, value in spec.get("sparkConf", {}).items() for part in ("--conf", f"{key}={value}")]
    main = ["--class", spec["mainClass"]] if spec.get("mainClass") else []
    volumes, mounted = mounts(spec, asked)
    base = {
        "metadata": {
            "name": asked.get("podName") or f"{metadata['name']}-driver",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": "sparkoperator.k8s.io/v1beta2",
                    "kind": "SparkApplication",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "volumes": volumes,
            "serviceAccountName": asked.get("serviceAccount", "default"),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": asked.get("image") or spec.get("image", ""),
                    "args": [
                        "driver",
                        *properties,
                        *main,
                        spec.get("mainApplicationFile", ""),
                        *spec.get("arguments", []),
                    ],
                    "env": asked.get("env", []),
                    "envFrom": asked.get("envFrom", []),
                    "volumeMounts": mounted,
                    "resources": {"requests": {"cpu": asked.get("coreRequest", "10m")}},
                }
            ],
        },
    }
    pod: Object = merged(base, asked.get("template", {}))
    return pod
