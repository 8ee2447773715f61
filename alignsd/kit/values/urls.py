"""URLs as values of parameters: which text is a URL, and which URLs must not be written down.

A parameter's value is kept in records, in executed notebooks and in messages. A password inside a
URL would be kept there too, so a URL with a password or with a signature is refused.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alignsd.base.errors import Problem

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
CHAIN = "::"  # fsspec's sign for a file system inside another, as in simplecache::s3://bucket
LOCAL = "file"
USER = re.compile(r"(?<=://)[^\s/?#]*@")  # user:password@ in a text
QUERY = re.compile(r"(?<=[^\s?#])[?#][^\s'\"<>)]*")  # ?X-Amz-Signature=... or #... behind a URL
IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>)]*")


def is_url(value: str) -> bool:
    """Return whether a value is a URL, such as ``s3://bucket/folder``, and not a path."""
    return URL.match(value) is not None or CHAIN in value and URL.search(value) is not None


def is_remote(value: str) -> bool:
    """Return whether a value is a URL of something that does not lie on this machine's disks."""
    return is_url(value) and scheme_of(value) != LOCAL


def scheme_of(url: str) -> str:
    """Return the first part of a URL in small letters, such as ``s3``."""
    return url.partition("://")[0].lower()


def without_secrets(text: str) -> str:
    """Return a text in which URLs have no user name, password, query and fragment."""
    return IN_TEXT.sub(lambda match: QUERY.sub("", USER.sub("", match[0])), text)


def local_path(url: str) -> Path:
    """Return the path that a ``file://`` URL names."""
    return Path(unquote(urlsplit(url).path))


def check_url(url: str, where: str) -> None:
    """Do nothing if a URL may be written into records.

    Args:
        url: the URL.
        where: what gives the URL, such as ``"parameter parts in --set"``.

    Raises:
        Problem: if the URL holds a user name, a password, a query or a fragment, or several file
            systems in a chain. The message does not repeat what may be secret.
    """
    found = _fault(url)
    if found is None:
        return
    raise Problem(
        f"The URL of {where} cannot be taken.",
        expected="the URL of a folder without a password and without a signature, "
        "such as s3://bucket/folder",
        found=f"{found}: {without_secrets(url)[:200]}",
        cause="records and executed notebooks keep the value: a secret would be kept there too",
        fix="give the plain URL; credentials come from the environment or from the storage's "
        "own settings: docs/data.md",
    )


def _fault(url: str) -> str | None:
    """Return why a URL may not be written down, or None."""
    if CHAIN in url:
        return "several file systems in a chain"
    host = url.partition("://")[2].partition("/")[0]
    if "@" in host:
        return "a user name or a password in front of the host"
    if "?" in url or "#" in url:
        return "a query or a fragment behind the path"
    return None
