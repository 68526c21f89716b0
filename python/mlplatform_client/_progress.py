"""The progress line: redrawn in a terminal or a notebook, one line for each change elsewhere."""

from __future__ import annotations

import os
import sys

# States in which the line says what the job is waiting for.
_WAITING = ("SUBMITTED", "PENDING_RERUN", "FAILING", "SUBMISSION_FAILED")
_EXPLAIN_TIMEOUT = 5
# Bytes. A smaller upload takes no time worth a line.
_LARGE_UPLOAD = 1 << 20
# Seconds between two lines of a transfer: where the line is redrawn, and where each one stays.
_REDRAW_INTERVAL = 0.2
_LINE_INTERVAL = 10.0

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
    """The progress line of a wait, an upload or a download, on standard error. A context manager.

    In a terminal, the line replaces the previous one; in a notebook, it is an output of the cell that is updated; in a
    pipe, a file or a CI log, each change is a new line. Errors of the output are ignored: they turn the line off.

    Parameters
    ----------
    shown : bool, optional
        Default: ``True``, or ``False`` if ``MLP_PROGRESS`` is ``0``.
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
        """Show the text, if it differs from the last one."""
        text = " ".join(text.split())
        if not self._shown or text == self._text:
            return
        self._text = text
        try:
            self._show(text)
        except Exception:  # noqa: BLE001 - a broken stream must not end the operation
            self._shown = False

    def close(self) -> None:
        """End the line; its last text stays visible."""
        if self._shown and self._is_terminal and self._text and not _in_notebook():
            import contextlib

            with contextlib.suppress(OSError, ValueError):
                self._write("\n")
        self._shown = False

    @property
    def is_shown(self) -> bool:
        """Whether the line is visible."""
        return self._shown

    @property
    def is_redrawn(self) -> bool:
        """Whether a text replaces the previous one."""
        return self._is_terminal or _in_notebook()

    def __del__(self) -> None:
        # A wait drops it when it ends, for whatever reason.
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


def of_job(on_update: Callable[[K8sSparkJobInfo], object] | None, shown: bool | None, explain: bool) -> object:
    """Return the function that a wait calls with each update of a job; ``on_update`` itself, if nothing is shown.

    ``explain``: the reason why a job does not run may be requested, as a call of the same thread.
    """
    progress = Progress(_default(shown))
    if not progress.is_shown:
        return on_update

    def update(info: K8sSparkJobInfo) -> object:
        status = str(info.status)
        reason = _reason(info) if explain and status in _WAITING else ""
        progress.update(printable(f"{info.job_name}: {status}{reason}"))
        return on_update(info) if on_update else None

    return update


def of_transfer(path: str, is_upload: bool, shown: bool | None) -> Callable[[tuple[int, int | None]], None] | None:
    """Return the function that a transfer calls with the bytes done and their total; ``None``, if nothing is shown."""
    progress = Progress(_default(shown))
    if not progress.is_shown:
        return None
    import os.path
    import time

    name = printable(os.path.basename(path))
    last = -_LINE_INTERVAL

    def update(bytes_: tuple[int, int | None]) -> None:
        nonlocal last
        done, total = bytes_
        if is_upload and (total or 0) < _LARGE_UPLOAD:
            return
        now = time.monotonic()
        if done != total and now - last < (_REDRAW_INTERVAL if progress.is_redrawn else _LINE_INTERVAL):
            return
        last = now
        if is_upload and total:
            progress.update(f"{name}: uploading {100 * done // total} %")
        else:
            progress.update(f"{name}: {_size(done)} saved")

    return update


def _default(shown: bool | None) -> bool | None:
    if shown is not None:
        return shown
    import threading

    # Lines of several threads would overwrite each other.
    return None if threading.current_thread() is threading.main_thread() else False


def _size(count: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def _reason(info: K8sSparkJobInfo) -> str:
    from mlplatform_client.core.exceptions import MLPlatformException

    try:
        return f": {info.job().explain(timeout=_EXPLAIN_TIMEOUT).sentence}"
    except MLPlatformException:
        # The line is shown without it.
        return ""


def _in_notebook() -> bool:
    """Whether this is a kernel. IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def printable(text: str) -> str:
    """Replace control characters: texts of a job or a platform must not move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
