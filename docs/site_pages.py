"""MkDocs hook: links that work in the site and on GitHub, where they are relative paths, also to files outside docs/.

Such a file is one of PAGES, or gets a page of its own that shows its text, if any page links to it. A page that would
load something from elsewhere is a warning, which stops a strict build like any other.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "config/README.md": "configuration.md", "CHANGELOG.md": "changelog.md"}
"""Files outside docs/ to pages of the site; docs/index.md is the README in short."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(?=[)#])")
ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe|link\s+rel="(?:stylesheet|icon)")[^>]*(?:src|href)="(?:https?:)?//[^"]+"""
)
log = logging.getLogger("mkdocs.hooks.site_pages")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages for the files outside docs/."""
    for source, page in PAGES.items():
        if not files.get_file_from_path(page):
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    linked = {_source(file, path) for file in files.documentation_pages() for path in LINK.findall(file.content_string)}
    for source in sorted(linked):
        page = _page(source)
        if not files.get_file_from_path(page) and (ROOT / source).is_file():
            text = f"# `{source}`\n\n````{Path(source).suffix[1:]}\n{(ROOT / source).read_text('utf-8')}````\n"
            files.append(File.generated(config, page, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files become links between pages; what does not exist stays as it is, for MkDocs to report."""
    folder = posixpath.dirname(page.file.src_uri)
    return LINK.sub(lambda link: posixpath.relpath(_page(_source(page.file, link[1])), folder or "."), markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of what a page would load from elsewhere."""
    for found in ELSEWHERE.findall(output):
        log.warning("%s loads something from elsewhere: %s", page.file.src_uri, found)
    return output


def _source(file: File, path: str) -> str:
    """The file that a link leads to, relative to the repository."""
    own = Path(file.abs_src_path).relative_to(ROOT).as_posix() if file.abs_src_path else ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(own), path))


def _page(source: str) -> str:
    """Where the site has a file of the repository."""
    inside = source.removeprefix("docs/")
    return inside if inside != source else PAGES.get(source, f"sources/{source}.md")
