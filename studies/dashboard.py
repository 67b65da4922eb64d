"""Optuna's dashboard on the campaign's database."""

from __future__ import annotations

from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from studies.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    """A page asks for several things at once."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line a request."""


def serve(storage: BaseStorage, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves Optuna's dashboard until the process is interrupted.

    Args:
        storage: what to show; a driver may be writing it.
        host: address to listen on. The dashboard can change and delete studies and knows no passwords: anyone who can
            reach another address than 127.0.0.1 can do so.
        port: to listen on; 0 for any free one.
        ready: called with the URL once the server listens.

    Raises:
        UserError: the address cannot be listened on.
    """
    from optuna_dashboard import wsgi

    try:
        server = make_server(host, port, wsgi(storage), server_class=_ThreadedServer, handler_class=_QuietHandler)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host could have that name
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (0: any free one) or --host"
        ) from None
    with server:
        ready(f"http://{host}:{server.server_port}/")
        server.serve_forever()
