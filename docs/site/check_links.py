"""Check that each link of the built site leads to a page, a file or a heading that exists.

Run as ``python docs/site/check_links.py site``. Links to other servers are not followed.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places in the page that a link can lead to."""

    def __init__(self, html: str):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect what an element links to, and the name of the element."""
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def broken_links(site: Path) -> list[str]:
    """Return each broken link of a site as ``page: link``.

    Args:
        site: folder of the built site. Files below ``_static`` belong to the theme.
    """
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    pages = {file.resolve(): Page(file.read_text(encoding="utf-8")) for file in files}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            if not leads_somewhere(link, file, pages):
                broken.append(f"{file.relative_to(site.resolve())}: {link}")
    return broken


def leads_somewhere(link: str, file: Path, pages: dict[Path, Page]) -> bool:
    """Return whether a link of the page ``file`` leads to something that exists."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not target.exists():
        return False
    is_place_in_page = parts.fragment and target in pages
    return not is_place_in_page or unquote(parts.fragment) in pages[target].places


def main() -> None:
    """Print the broken links of the site that the command line names; fail if there are any."""
    broken = broken_links(Path(sys.argv[1]))
    for line in broken:
        print(line)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
