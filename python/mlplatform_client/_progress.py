"""One line that says how far something is: redrawn in a terminal or a notebook, else a line for each change."""

from __future__ import annotations

import os
import sys

# What a job that does not run may be waiting for.
_WAITING = ("SUBMITTED", "PENDING_RERUN", "FAILING", "SUBMISSION_FAILED")
_SECONDS = 5

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol

    from typing_extensions import Self

    from mlplatform_client._native import K8sSparkJobInfo

    class _Handle(Protocol):
        def update(self, shown: object) -> None: ...


class Progress:
    """What a wait, an upload or a download shows of itself, on standard error. A context manager.

    In a terminal the line replaces the one before it; in a notebook it is an output of the cell that changes; in a
    pipe, a file or a CI log each change is a line of its own. It is never the reason why the work fails: where it
    cannot be shown, nothing is.

    Parameters
    ----------
    shown : bool, optional
        Default: unless ``MLP_PROGRESS`` is ``0``.
    """

    def __init__(self, shown: bool | None = None) -> None:
        if shown is None:
            shown = os.environ.get("MLP_PROGRESS", "").strip().lower() not in ("0", "false", "no", "off")
        self._shown = shown
        self._text = ""
        self._handle: _Handle | None = None
        self._is_terminal = False
        if shown and sys.stderr is not None:
            try:
                self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
            except ValueError:
                # It is closed.
                self._shown = False

    def update(self, text: str) -> None:
        """Say so, if it is not what was said before."""
        text = " ".join(text.split())
        if not self._shown or text == self._text:
            return
        self._text = text
        try:
            self._show(text)
        except Exception:  # noqa: BLE001 - a stream that is gone must not end what is under way
            self._shown = False

    def close(self) -> None:
        """Leave the last line standing."""
        if self._shown and self._is_terminal and self._text and not _in_notebook():
            import contextlib

            with contextlib.suppress(OSError, ValueError):
                self._write("\n")
        self._shown = False

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return self._shown

    def __del__(self) -> None:
        # Of a wait, whichever way it ends.
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _show(self, text: str) -> None:
        if _in_notebook():
            self._show_in_notebook(text)
        elif self._is_terminal:
            import shutil

            width = max(shutil.get_terminal_size().columns - 1, 10)
            self._write(f"\r\x1b[K{text if len(text) <= width else text[: width - 1] + '…'}")
        else:
            self._write(f"{text}\n")

    def _show_in_notebook(self, text: str) -> None:
        import html

        notebook = sys.modules["IPython"].display
        shown = notebook.HTML(f'<div class="mlp-progress">{html.escape(text)}</div>')
        if self._handle is None:
            self._handle = notebook.display(shown, display_id=True)
        else:
            self._handle.update(shown)

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def watch(on_update: Callable[[K8sSparkJobInfo], object] | None, shown: bool | None, ask: bool) -> object:
    """What a wait calls with each update of a job; ``on_update`` itself, if nothing is shown.

    ``ask``: why a job does not run may be asked for meanwhile, as a call of the same thread.
    """
    if shown is None:
        import threading

        # Lines of several threads would be drawn over each other.
        shown = None if threading.current_thread() is threading.main_thread() else False
    progress = Progress(shown)
    if not progress.is_shown:
        return on_update

    def tell(info: K8sSparkJobInfo) -> object:
        status = str(info.status)
        progress.update(printable(f"{info.job_name}: {status}{_why(info) if ask and status in _WAITING else ''}"))
        return on_update(info) if on_update else None

    return tell


def _why(info: K8sSparkJobInfo) -> str:
    from mlplatform_client.core.exceptions import MLPlatformException

    try:
        return f": {info.job().explain(timeout=_SECONDS).sentence}"
    except MLPlatformException:
        # It is for the line alone.
        return ""


def _in_notebook() -> bool:
    """Of a kernel; IPython in a terminal is a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def printable(text: str) -> str:
    """Without control characters: what a job or a platform says must not move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
