"""Parts of DiffusionDB at a URL: listed, checked and read over fsspec, without a copy on the disk.

Any file system that fsspec knows will do: ``s3://bucket/folder``, ``hf://datasets/owner/name``,
``https://host/folder/`` and more. A part is read by byte ranges, see ``ranges``.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, TypeVar

from alignsd.base.downloads import told
from alignsd.base.errors import Problem
from alignsd.kit.values.urls import check_url, scheme_of, without_secrets
from alignsd.select.ranges import Piece, RangeReader

PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before a failed request is sent again
ENDING = 2**18  # bytes; the directory of a part of 1,000 images has about 0.1 MB
ENDINGS_KEPT = 64  # parts whose ending stays in memory for the next reader
AT_A_TIME = 16  # requests for sizes that are under way together
SILENCE = 60.0  # seconds without a byte before a connection counts as broken
# Where file systems keep what changes with a file's content, the surest first.
CONTENT_TAGS = ("ETag", "etag", "generation", "blob_id", "md5Hash", "Content-MD5")
TIMES = ("LastModified", "Last-Modified", "last_modified", "mtime", "created")
# The package behind a scheme, where fsspec does not bring its own.
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "abfs": "adlfs",
    "az": "adlfs",
    "hf": "huggingface_hub",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
RESUME = "alignsd run --run NAME"
T = TypeVar("T")


@dataclass(frozen=True)
class Version:
    """What tells a file of a server from a changed file of the same name.

    Attributes:
        size: bytes.
        tag: the server's tag of the content, such as an ETag; empty if the server gives no tag.
    """

    size: int
    tag: str


@dataclass(frozen=True)
class Connection:
    """The way to a folder on a server.

    Attributes:
        files: fsspec's file system.
        root: the folder's path in the file system.
        url: the folder's URL.
        pauses: seconds before a failed request is sent again; as many tries again as pauses.
        resume: the command that goes on after a Problem.
    """

    files: Any
    root: str
    url: str
    pauses: Sequence[float] = PAUSES
    resume: str = RESUME

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """Return what a request returns; a failed request is sent again after growing pauses.

        Args:
            what: the file or folder that is asked for, to be named in a message.
            request: asks the server.

        Raises:
            Problem: if the server refuses the request, or no try succeeds.
        """
        tries = 0
        while True:
            try:
                return request()
            except Problem:
                raise
            # Each file system of fsspec raises errors of its own library, of many kinds.
            except Exception as error:
                reason = _reason(error)
            # Outside of `except`: a library's error may hold a signed address.
            if _is_final(reason) or tries == len(self.pauses):
                raise self._failed(what, reason, tries + 1)
            time.sleep(self.pauses[tries])
            tries += 1

    def _failed(self, what: str, error: Exception, tries: int) -> Problem:
        found = without_secrets(told(error))
        if str(error):
            found = f"{type(error).__name__}: {found}"
        if _is_final(error):
            cause = "the file is not there, or the server asks for credentials"
            fix = "give the right URL or credentials (docs/data.md), then go on"
        else:
            cause = "no network, or a server that is down or too busy"
            fix = "wait until the server answers, then go on"
        return Problem(
            f"{what} could not be read.",
            expected=f"an answer of {self.url}",
            found=f"{found} ({tries} tries)" if tries > 1 else found,
            cause=cause,
            fix=f"{fix}; finished parts are kept: {self.resume}",
        )

    def listed(self, folder: str) -> list[dict[str, Any]]:
        """Return what fsspec tells of each file and folder in a folder; nothing if none is there.

        Args:
            folder: path in the file system.

        Raises:
            Problem: if the server does not answer.
        """

        def request() -> list[dict[str, Any]]:
            try:
                self.files.invalidate_cache(folder)
                # A web server sends the page of a folder for a name that ends in a slash.
                shown = f"{folder}/" if "://" in folder else folder
                return list(self.files.ls(shown, detail=True))
            except (FileNotFoundError, NotADirectoryError):
                return []

        return self.ask(f"The folder {PurePosixPath(folder).name}", request)

    def version(self, path: str) -> Version:
        """Return a file's version as the server tells it now.

        Raises:
            Problem: if the server does not answer, has no such file, or tells no size.
        """
        name = PurePosixPath(path).name

        def request() -> dict[str, Any]:
            self.files.invalidate_cache(path)
            return dict(self.files.info(path))

        version = version_of(self.ask(name, request))
        if version is None:
            raise self._no_ranges(name, "no size")
        return version

    def bytes_of(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from ``start`` to before ``end``.

        Raises:
            Problem: if the server does not answer, or sends other bytes than asked for.
        """
        name = PurePosixPath(path).name

        def request() -> bytes:
            content = self.files.cat_file(path, start=start, end=end)
            if len(content) > end - start:
                raise self._no_ranges(name, f"{len(content):,} bytes for {end - start:,}")
            if len(content) < end - start:
                raise EOFError(f"{len(content):,} of {end - start:,} bytes")
            return bytes(content)

        return self.ask(name, request)

    def _no_ranges(self, name: str, found: str) -> Problem:
        return Problem(
            f"The server does not send pieces of {name}.",
            expected="a server that tells a file's size and answers range requests",
            found=found,
            cause="a simple server, such as python -m http.server",
            fix="take a server with range requests (nginx, Apache, S3), or copy the parts to a "
            "disk and set parts to the folder",
        )


def connection_to(url: str, pauses: Sequence[float] = PAUSES, resume: str = RESUME) -> Connection:
    """Return the way to a folder on a server; nothing is asked yet.

    Args:
        url: the folder's URL.
        pauses, resume: as in ``Connection``.

    Raises:
        Problem: if the URL holds a secret, nobody knows the scheme, or a package is missing.
    """
    check_url(url, "the parts")
    from fsspec.core import url_to_fs

    try:
        files, root = url_to_fs(url, **_options(url))
    except ImportError as error:
        raise _no_package(url, error) from error
    except ValueError as error:
        raise Problem(
            "The URL of the parts cannot be used.",
            expected="a URL such as s3://bucket/folder or https://host/folder/",
            found=f"{url}: {without_secrets(told(error))}",
            cause="a misspelt scheme or path",
            fix="--set parts=URL",
        ) from None
    return Connection(files, root.rstrip("/"), url, pauses, resume)


def _options(url: str) -> dict[str, Any]:
    """Return the settings of fsspec's file system for a URL."""
    # Without fsspec's own memory of folders: a part that changed must be noticed.
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme_of(url) in ("http", "https"):
        from fsspec.implementations import http  # needs aiohttp

        silence = http.aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
        options["client_kwargs"] = {"timeout": silence}
    return options


def _no_package(url: str, error: ImportError) -> Problem:
    scheme = scheme_of(url)
    package = PACKAGES.get(scheme)
    fix = f"pip install {package}" if package else "install the package that is named above"
    return Problem(
        f"A package is missing to read {scheme}://.",
        expected=f"the package {package}" if package else f"fsspec's package for {scheme}://",
        found=told(error),
        cause="the kit does not install what only some storages need",
        fix=fix,
    )


def version_of(
    info: Mapping[str, Any], tags: Sequence[str] = (*CONTENT_TAGS, *TIMES)
) -> Version | None:
    """Return the version in what fsspec tells of a file; None if the size is not told.

    Args:
        info: what fsspec tells.
        tags: the keys that can hold a tag, the surest first.
    """
    size = info.get("size")
    if not isinstance(size, int):
        return None
    tag = next((str(info[key]) for key in tags if info.get(key)), "")
    return Version(size, tag)


def _reason(error: Exception) -> Exception:
    """Return the error behind an error.

    fsspec's HTTP says ``FileNotFoundError`` for every failure to learn a file's size.
    """
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        if type(cause).__module__.startswith("aiohttp") or isinstance(cause, TimeoutError):
            return cause
    return error


def _is_final(error: Exception) -> bool:
    """Return whether the same request would fail again: the server answered, and refused."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return True
    status = getattr(error, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 429)


class RemoteFolder:
    """A copy of DiffusionDB at a URL, in place of a folder on the disk.

    Args:
        connection: the way to the folder.
        recorded: part name -> version of the parts that were scored; empty if nothing is scored.
    """

    def __init__(
        self, connection: Connection, recorded: Mapping[str, Version] | None = None
    ) -> None:
        self.connection = connection
        self.recorded = dict(recorded or {})
        # The endings of a few parts: notebooks read pictures of the same parts several times.
        self._ending = lru_cache(maxsize=ENDINGS_KEPT)(self._fetched_ending)
        self._files: list[RemotePart] | None = None

    @property
    def name(self) -> str:
        """Return the folder as messages name it: the URL."""
        return self.connection.url

    def zips(self, subfolders: Sequence[str]) -> list["RemotePart"]:
        """Return the zip files in some subfolders; the server is asked once.

        Args:
            subfolders: names; ``"."`` is the folder itself.

        Raises:
            Problem: if the server does not answer.
        """
        if self._files is None:
            self._files = list(self._zips(subfolders))
        return self._files

    def _zips(self, subfolders: Sequence[str]) -> Iterator["RemotePart"]:
        here = self.connection.listed(self.connection.root)
        present = {PurePosixPath(info["name"]).name for info in here}
        for name in subfolders:
            infos = here
            if name != ".":
                if name not in present:
                    continue
                infos = self.connection.listed(f"{self.connection.root}/{name}")
            for info in infos:
                path = info["name"]
                if info.get("type") != "directory" and path.lower().endswith(".zip"):
                    # Listings and files spell times in different ways, and contents alike.
                    yield RemotePart(self, path, version_of(info, CONTENT_TAGS))

    def versions(self, parts: Mapping[str, "RemotePart"]) -> dict[str, Version]:
        """Return the version of each part, and hold every later reader to these versions.

        Raises:
            Problem: if the server does not answer.
        """
        with ThreadPoolExecutor(max_workers=AT_A_TIME) as threads:
            versions = threads.map(lambda part: part.listed_version(), parts.values())
            self.recorded = dict(zip(parts, versions, strict=True))
        return self.recorded

    @contextmanager
    def opened(self, part: "RemotePart") -> Iterator[RangeReader]:
        """Open a part, whose directory is fetched unless an earlier reader has fetched it.

        Raises:
            Problem: if the server does not answer, or the part has changed.
        """
        version = self.require_unchanged(part)

        def fetch(start: int, end: int) -> bytes:
            return self.connection.bytes_of(part.path, start, end)

        with RangeReader(fetch, self._ending(part.path, version)) as reader:
            yield reader

    def _fetched_ending(self, path: str, version: Version) -> Piece:
        start = max(0, version.size - ENDING)
        if version.size == 0:
            return Piece(0, b"")
        return Piece(start, self.connection.bytes_of(path, start, version.size))

    def require_unchanged(self, part: "RemotePart") -> Version:
        """Return a part's version if the version is as recorded, or if none is recorded.

        Raises:
            Problem: if the part was changed on the server, or the server does not answer.
        """
        version = self.connection.version(part.path)
        recorded = self.recorded.setdefault(part.stem, version)
        if version == recorded:
            return version
        raise changed(part, recorded, version)


def changed(part: "RemotePart", recorded: Version, found: Version) -> Problem:
    """Return the Problem of a part that is not the part that was looked at first."""
    resume = part.folder.connection.resume
    return Problem(
        f"{part.name} was changed on the server.",
        expected=f"{recorded.size:,} bytes, tag {recorded.tag or 'not told'}",
        found=f"{found.size:,} bytes, tag {found.tag or 'not told'}",
        cause="somebody wrote the part anew after this run had begun with it",
        fix=f"put the earlier part back, or score all parts anew: {resume} --force 03",
    )


@dataclass(frozen=True)
class RemotePart:
    """A part of DiffusionDB on a server.

    Attributes:
        folder: the copy of DiffusionDB that the part belongs to.
        path: the part's path in the file system of the folder.
        listed: the part's version as the folder's listing tells it; None if it does not.
    """

    folder: RemoteFolder
    path: str
    listed: Version | None = None

    @property
    def name(self) -> str:
        """Return the file's name, such as ``part-000001.zip``."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """Return the name without ``.zip``."""
        return PurePosixPath(self.path).stem

    @property
    def below(self) -> str:
        """Return the path below the folder."""
        return self.path.removeprefix(self.folder.connection.root).lstrip("/")

    @property
    def inside(self) -> str:
        """Return the path of the folder that holds the file."""
        return str(PurePosixPath(self.path).parent)

    def listed_version(self) -> Version:
        """Return the version that the listing told, or else ask for it.

        Raises:
            Problem: if the server does not answer.
        """
        if self.listed is not None and self.listed.tag:
            return self.listed
        return self.folder.connection.version(self.path)


def remote_folder(
    url: str,
    recorded: Mapping[str, Version] | None = None,
    pauses: Sequence[float] = PAUSES,
    resume: str = RESUME,
) -> RemoteFolder:
    """Return the copy of DiffusionDB at a URL; nothing is asked yet.

    Args:
        url: the folder's URL.
        recorded: as in ``RemoteFolder``.
        pauses, resume: as in ``Connection``.

    Raises:
        Problem: as ``connection_to`` does.
    """
    return RemoteFolder(connection_to(url, pauses, resume), recorded)


def parts_of(parts: Mapping[str, Any]) -> dict[str, RemotePart]:
    """Return those of some parts that lie on a server, name to part."""
    return {name: part for name, part in parts.items() if isinstance(part, RemotePart)}


def noted(versions: Mapping[str, Version]) -> dict[str, dict[str, Any]]:
    """Return versions as JSON can hold them: part name -> ``{"size": ..., "tag": ...}``."""
    return {name: asdict(version) for name, version in versions.items()}


def recalled(versions: Any) -> dict[str, Version] | None:
    """Return versions from what ``noted`` made of them; None if the value is something else."""
    if not isinstance(versions, dict):
        return None
    read = {}
    for name, version in versions.items():
        if not isinstance(version, dict):
            return None
        size, tag = version.get("size"), version.get("tag")
        if not isinstance(size, int) or not isinstance(tag, str):
            return None
        read[name] = Version(size, tag)
    return read
