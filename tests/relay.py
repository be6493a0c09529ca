"""A way to a server that a test can cut and mend."""

import contextlib
import socket
import threading


class Relay:
    """Listens on a port of its own and passes everything on to a server's socket file, as long as it is not cut."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = True
        self.pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.path)
            self.pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _end(source)
        _end(sink)

    def cut(self) -> None:
        """End what is open, and let in nobody."""
        self.open = False
        for one in self.pairs:
            _end(one)
        self.pairs.clear()

    def mend(self) -> None:
        """Let in whoever comes."""
        self.open = True

    def close(self) -> None:
        """Cut it, and listen no more."""
        self.cut()
        self.listener.close()


def _end(one: socket.socket) -> None:
    """End it for both sides at once: closing alone waits for whoever still reads from it."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
