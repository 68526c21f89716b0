"""A TLS server in front of a platform, with blocking sockets: unlike asyncio's it says why it lets nobody in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from urllib.parse import urlsplit


class TlsFront:
    """Terminates TLS and passes everything on."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self._target, self._context = (parts.hostname or "", parts.port or 80), context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> TlsFront:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(30)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            secure = self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True)
        except OSError:
            # The alert is on its way: closing with unread data would send a RST, which overtakes it.
            with connection, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            return
        # One request and its answer at a time is all that HTTP/1.1 has.
        with secure, socket.create_connection(self._target) as there, contextlib.suppress(OSError):
            while request := secure.recv(65536):
                there.sendall(request)
                secure.sendall(there.recv(65536))
