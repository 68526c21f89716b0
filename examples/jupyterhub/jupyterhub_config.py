"""A JupyterHub with DockerSpawner and that image. The home is a volume: a user signs in once, not at each start."""

from __future__ import annotations

from typing import Any

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821 - JupyterHub gives it to this file

c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.image = "mlplatform-notebook"
c.DockerSpawner.volumes = {"jupyterhub-{username}": "/home/jovyan"}
# What is the same for all. A token here would be everybody's: `mlplatform_client.login()` asks each user for one.
c.DockerSpawner.environment = {"MLP_URL": "https://platform.example.com"}
