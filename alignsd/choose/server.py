"""A page on which people in one room rate a deck: ``alignsd rate``.

The server answers in one thread. Reading and writing of votes happens in a second thread, one
request after the other, so that pictures are served meanwhile and no answer meets another.
"""

import asyncio
import hashlib
import ipaddress
import json
import mimetypes
import socket
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from alignsd.base.errors import Problem
from alignsd.choose.raters import RULE, BadName, Taken, checked_name
from alignsd.choose.rating import BadAnswer, Rating
from alignsd.running.signals import handled

HERE = Path(__file__).parent
PAGES = HERE / "pages"
ASSETS = {
    "chooser.css": HERE / "chooser.css",
    "chooser.js": HERE / "chooser.js",
    "rate.css": PAGES / "rate.css",
    "rate.js": PAGES / "rate.js",
}
KINDS = {".png": "image/png", ".webp": "image/webp"}  # all others are JPEG, see images.FORMATS
ANSWER_BYTES = 4096  # of a request's body; an answer has about 100
HEADER_BYTES = 16_384
DAYS = 30  # for which a browser keeps its token
YEAR = 365 * 24 * 3600  # seconds for which a browser keeps a picture: its address has its contents
# A page loads from this server alone, runs no script of a name or a prompt, and is framed nowhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

Result = TypeVar("Result")


class Page(RequestHandler):
    """What all pages have in common: headers, the rater's cookie, and pages that tell of errors."""

    rating: Rating
    worker: ThreadPoolExecutor
    is_local: bool

    def initialize(self, rating: Rating, worker: ThreadPoolExecutor, is_local: bool) -> None:
        """Take what the application hands to each request."""
        self.rating = rating
        self.worker = worker
        self.is_local = is_local

    def set_default_headers(self) -> None:
        """Tell browsers to load nothing from elsewhere and to guess nothing."""
        self.set_header("Server", "alignsd")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse a page of another site whose name was made to lead to this machine."""
        if self.is_local and self.request.host_name.strip("[]") not in LOOPBACK_NAMES:
            raise HTTPError(403, reason="This address is for this machine alone")

    def get_template_namespace(self) -> dict[str, Any]:
        """Let every page name the deck."""
        return super().get_template_namespace() | {"rating": self.rating}

    async def work(self, function: Callable[..., Result], *values: object) -> Result:
        """Call a function that reads or writes files, in the thread for this work."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, function, *values)

    def token(self, name: str) -> str | None:
        """Return the token that this browser keeps for a name."""
        return self.get_cookie(_cookie(name))

    async def owned(self, text: str) -> str:
        """Return the rater's name as first typed, if this browser has the name.

        Raises:
            HTTPError: 404 for a name that cannot be, 403 for another browser's name.
        """
        name = self.named(text)
        if not await self.work(self.rating.names.is_owner, name, self.token(name)):
            raise HTTPError(403, reason="This name belongs to another browser")
        return await self.work(self.rating.names.spelling, name) or name

    def named(self, text: str) -> str:
        """Return a name in an address, checked.

        Raises:
            HTTPError: 404 for a name that cannot be.
        """
        try:
            return checked_name(text)
        except BadName:
            raise HTTPError(404, reason="There is no such page") from None

    def write_error(self, status_code: int, **about: Any) -> None:
        """Show a page that says what went wrong."""
        title = "This did not work" if status_code >= 500 else self._reason
        self.render("message.html", title=title)

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Tell the teacher's console of faults of the server, but not of requests it refused."""
        if isinstance(error, Problem):
            print(error, file=sys.stderr, flush=True)
        elif not isinstance(error, HTTPError):
            traceback.print_exception(kind, error, trace)


class Enter(Page):
    """The first page: it asks for a name."""

    async def get(self) -> None:
        """Show the form."""
        self.show_form("", "")

    async def post(self) -> None:
        """Take a name, hand the browser a token, and go to the rater's page."""
        text = self.get_body_argument("name", "")
        try:
            name = checked_name(text)
            owner = await self.work(self.rating.names.is_owner, name, self.token(name))
            if not owner:
                self.keep(name, await self.work(self.rating.names.claim, name))
        except BadName as error:
            self.set_status(400)
            self.show_form(text[:60], str(error))
            return
        except Taken:
            self.set_status(403)
            self.render("taken.html", name=name)
            return
        spelling = await self.work(self.rating.names.spelling, name)
        self.redirect(f"/r/{quote(spelling or name)}", status=303)

    def show_form(self, name: str, fault: str) -> None:
        """Show the form with a name in it, and what is wrong with the name."""
        self.render("enter.html", rule=RULE, name=name, fault=fault)

    def keep(self, name: str, token: str) -> None:
        """Give the browser the token of a name, out of reach of scripts and of other sites."""
        self.set_cookie(
            _cookie(name), token, httponly=True, samesite="Strict", max_age=DAYS * 24 * 3600
        )


class Rate(Page):
    """A rater's page."""

    async def get(self, text: str) -> None:
        """Show the questions, or ask to begin under a name that is free."""
        name = self.named(text)
        spelling = await self.work(self.rating.names.spelling, name)
        if spelling is None:
            self.render("begin.html", name=name)
        elif await self.work(self.rating.names.is_owner, name, self.token(name)):
            self.render("rate.html", name=spelling)
        else:
            self.set_status(403)
            self.render("taken.html", name=spelling)


class Answers(Page):
    """The present question of a rater as JSON, and the rater's answers."""

    async def get(self, text: str) -> None:
        """Return the present view."""
        name = await self.owned(text)
        self.write(await self.work(self.rating.view, name))

    async def post(self, text: str) -> None:
        """Keep an answer and return the next view."""
        name = await self.owned(text)
        try:
            message = json.loads(self.request.body)
            self.write(await self.work(self.rating.answer, name, message))
        except (BadAnswer, ValueError, RecursionError):
            raise HTTPError(400, reason="This is no answer to a question") from None

    def write_error(self, status_code: int, **about: Any) -> None:
        """Return the error as JSON."""
        self.finish({"error": self._reason})


class Picture(Page):
    """A picture of the deck, named by a code: no path of this machine can be asked for."""

    async def get(self, code: str) -> None:
        """Send the picture."""
        file = self.rating.picture(code)
        if file is None:
            raise HTTPError(404, reason="There is no such picture")
        try:
            content = await asyncio.to_thread(file.read_bytes)
        except OSError:
            raise HTTPError(404, reason="There is no such picture") from None
        self.set_header("Content-Type", KINDS.get(file.suffix.lower(), "image/jpeg"))
        self.set_header("Cache-Control", f"private, max-age={YEAR}, immutable")
        self.finish(content)


class Asset(Page):
    """The script and the style of the pages."""

    def get(self, name: str) -> None:
        """Send one of the files named in ``ASSETS``."""
        if name not in ASSETS:
            raise HTTPError(404, reason="There is no such page")
        self.set_header("Content-Type", f"{mimetypes.guess_type(name)[0]}; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(ASSETS[name].read_bytes())


class ProgressPage(Page):
    """The teacher's page: how many people, how many votes, no names."""

    async def get(self) -> None:
        """Show the numbers; the page loads itself anew every few seconds."""
        progress = await self.work(self.rating.progress)
        self.render("progress.html", progress=progress)


class Missing(Page):
    """Every other address."""

    def prepare(self) -> None:
        """Say that there is no such page."""
        raise HTTPError(404, reason="There is no such page")


def application(rating: Rating, worker: ThreadPoolExecutor, is_local: bool = True) -> Application:
    """Return the pages of a rating.

    Args:
        rating: the deck and the votes.
        worker: one thread, which alone reads and writes votes.
        is_local: whether the pages may be asked for by the names of this machine alone.
    """
    shared = {"rating": rating, "worker": worker, "is_local": is_local}
    pages = [
        (r"/", Enter, shared),
        (r"/r/([^/]+)", Rate, shared),
        (r"/r/([^/]+)/answers", Answers, shared),
        (r"/pictures/([0-9a-f]+)", Picture, shared),
        (r"/assets/([a-z.]+)", Asset, shared),
        (r"/progress", ProgressPage, shared),
    ]
    return Application(
        pages,
        default_handler_class=Missing,
        default_handler_args=shared,
        template_path=str(PAGES),
        xsrf_cookies=True,
        # Cookies do not tell ports apart: JupyterLab on the same machine has a cookie _xsrf.
        xsrf_cookie_name="alignsd_rate_xsrf",
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Strict"},
        log_function=_say_nothing,  # an address holds a rater's name
    )


def serve(rating: Rating, host: str, port: int, started: Callable[[int], None]) -> None:
    """Serve the pages until Ctrl-C, SIGTERM or SIGHUP.

    Args:
        rating: the deck and the votes.
        host: the address to listen at; ``127.0.0.1`` for this machine alone, ``0.0.0.0`` for all
            networks of this machine.
        port: the port; 0 for any free port.
        started: called with the port when pages can be asked for.

    Raises:
        Problem: if the address cannot be listened at.
    """
    try:
        sockets = bind_sockets(port, address=host)
    except (OSError, OverflowError) as error:
        raise _no_address(host, port, error) from error
    with ThreadPoolExecutor(max_workers=1) as worker:
        pages = application(rating, worker, is_loopback(host))
        asyncio.run(_until_stopped(pages, sockets, started))


async def _until_stopped(
    pages: Application, sockets: list[socket.socket], started: Callable[[int], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = HTTPServer(
        pages,
        max_body_size=ANSWER_BYTES,
        max_header_size=HEADER_BYTES,
        idle_connection_timeout=120,
        body_timeout=20,
    )
    server.add_sockets(sockets)

    def stop_soon(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    with handled(stop_soon):
        started(sockets[0].getsockname()[1])
        await stop.wait()
    server.stop()
    await server.close_all_connections()


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_address(host: str) -> str:
    """Return the address under which other machines of the network reach this machine.

    Args:
        host: the address that the server listens at; an address that stands for all networks of
            this machine gives the address of the network that leads outside.
    """
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: the system only chooses a network
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _cookie(name: str) -> str:
    """Return the name of the cookie that keeps the token of a rater's name."""
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()
    return f"alignsd_rate_{digest[:16]}"


def _say_nothing(handler: RequestHandler) -> None:
    """Write no line about a request."""


def _no_address(host: str, port: int, error: Exception) -> Problem:
    return Problem(
        f"The page cannot be served at {host}, port {port}.",
        expected="an address of this machine and a free port from 1024 to 65535",
        found=getattr(error, "strerror", None) or str(error),
        cause="another program, such as a second alignsd rate, uses the port, "
        "or the address belongs to another machine",
        fix=f"alignsd rate --port {port + 1 if 0 < port < 65535 else 8766}",
    )
