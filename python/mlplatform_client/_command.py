"""`mlp`, the command. All of it is compiled; this is what the script of the wheel calls."""

import sys

from mlplatform_client._native import command


def main() -> None:
    """Do what the arguments say; end with the exit code."""
    command(sys.argv)
