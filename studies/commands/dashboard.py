"""Optuna's dashboard on the campaign's database, with notes and plots of this project, and the reports beside it."""

from __future__ import annotations

import mimetypes
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from search_spaces.errors import UserError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.storages import BaseStorage

    from analysis.dashboard import AnnotationService

_STUDIES = re.compile(r"/api/studies(?:/(?P<study_id>[0-9]{1,18}))?/?")  # what pages ask for, again and again
_REPORTS = "/reports"
_OF_A_REPORT = re.compile(
    rf"{_REPORTS}/(?P<report>[^./\\\0-][^/\\\0]*)"
    r"/(?P<file>index\.html|answers\.html|(?:methods|answers)\.md|tables/[\w-][\w.-]*\.csv|figures/[\w-][\w.-]*\.(?:png|svg))"
)
# What Optuna's dashboard and our notes keep quiet while they read, each in a thread: catch_warnings is of all threads,
# so that one which ends brings back what another had silenced.
_SILENCED = ("PedAnovaImportanceEvaluator computes the importances", "Choices for a categorical distribution")
# A report is of the same address as the dashboard, which deletes studies when asked: what is in it gets no say there.
_SANDBOX = "sandbox allow-scripts allow-downloads allow-popups"


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a page asks for several things at once

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that ended, by the browser or by Ctrl-C in the moment it was taken."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print no line a request."""


def serve(
    storage: BaseStorage,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    notes: bool = True,
    option: Sequence[str] = (),
    program: Sequence[str] = ("sofim",),
    complain: Callable[[str], None] = print,
) -> None:
    """Serve Optuna's dashboard until the process is interrupted.

    Args:
        storage: What to show; a driver may be writing it. Nothing is written to it but what people change in the page.
        host: Address to listen on. The dashboard can change and delete studies and knows no passwords: anyone who can
            reach another address than 127.0.0.1 can do so.
        port: To listen on; 0 for any free one.
        ready: Called with the URL once the server listens.
        notes: Whether to show a note and plots of this project on every study of a campaign in a database.
        option: What a command that a note tells to type needs to find the storage.
        program: What such a command begins with.
        complain: Called with a line when notes cannot be kept up to date.

    Raises:
        UserError: The address cannot be listened on.
    """
    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi

    from analysis.dashboard import AnnotatedStorage, AnnotationService, NoteContext

    reports = Path("reports")
    with ExitStack() as opened:
        opened.enter_context(warnings.catch_warnings())
        for message in _SILENCED:
            warnings.filterwarnings("ignore", message, UserWarning)
        if notes and isinstance(storage, RDBStorage):
            context = NoteContext(option, reports, _REPORTS, program)
            service = opened.enter_context(closing(AnnotationService(storage, context, complain)))
            service.touch()
            application = _touching(service, wsgi(AnnotatedStorage(storage, service.annotation)))
        else:
            application = wsgi(storage)
        application = _with_reports(application, reports)
        try:
            server = make_server(host, port, application, server_class=_ThreadedServer, handler_class=_QuietHandler)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host could have that name
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot listen on {host}:{port}: {reason}; choose another --port (0: any free one) or --host"
            ) from None
        with server:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends its processes too
            ready(f"http://{host}:{server.server_port}/")
            server.serve_forever()


def _touching(service: AnnotationService, dashboard: WSGIApplication) -> WSGIApplication:
    """Return the dashboard, which has notes and plots brought up to date before it shows them."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if (match := _STUDIES.fullmatch(environ.get("PATH_INFO", ""))) is not None:
            service.touch(int(match["study_id"]) if match["study_id"] else None)
        return dashboard(environ, start_response)

    return application


def _with_reports(dashboard: WSGIApplication, reports: Path) -> WSGIApplication:
    """Return the dashboard and, under another path, the files of reports in a directory, and no others."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(f"{_REPORTS}/"):
            return dashboard(environ, start_response)
        content = _file_of_a_report(reports, path) if environ["REQUEST_METHOD"] in ("GET", "HEAD") else None
        if content is None:
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        kind = mimetypes.guess_type(path)[0] or "text/plain"
        headers = {
            "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": _SANDBOX,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }
        start_response("200 OK", list(headers.items()))
        return [content] if environ["REQUEST_METHOD"] == "GET" else []

    return application


def _file_of_a_report(reports: Path, path: str) -> bytes | None:
    """Return what the file of that address holds; ``None`` where there is no such file or it belongs to no report."""
    from analysis.report import is_report

    match = _OF_A_REPORT.fullmatch(path.encode("latin-1").decode("utf-8", "replace"))  # as WSGI has it
    if match is None:
        return None
    home = reports / match["report"]
    try:
        file = (home / match["file"]).resolve()
        return file.read_bytes() if is_report(home / "index.html") and file.is_relative_to(reports.resolve()) else None
    except OSError:
        return None
