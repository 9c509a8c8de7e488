"""The HTTP server that Prometheus asks: a few threads, each with little time for a caller."""

import socket
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

THREADS: Final = 10
SECONDS: Final = 5.0
"""How long a caller may take to send its request and to read the answer."""


class _Handler(WSGIRequestHandler):
    timeout = SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Scraped(WSGIServer):
    """Serves a registry until `stop`. Raises OSError when it cannot listen."""

    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "metrics")
        self._waiting = threading.BoundedSemaphore(2 * THREADS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.set_app(make_wsgi_app(registry))
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without looking up the host's name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand the caller to a thread, or hang up when as many wait as there are threads."""
        if not self._waiting.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._threads.submit(self._serve, request, client_address)

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # noqa: BLE001 - a caller that is too slow, or has gone
            pass
        finally:
            self.shutdown_request(request)
            self._waiting.release()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._threads.shutdown(wait=False, cancel_futures=True)
