"""The entry point of the `mlp` script; the command itself is compiled."""

import sys

from mlplatform_client._native import command


def main() -> None:
    """Run the command and exit with its exit code."""
    command(sys.argv)
