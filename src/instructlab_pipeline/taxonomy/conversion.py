"""A document as Markdown: Markdown and plain text as they are but for line ends, other kinds through converters.

`markitdown`'s converters are called one by one: its own choice among them would give out a broken file's bytes as text.
"""

import codecs
import io
import logging
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from instructlab_pipeline.errors import SourceError, boundary

AS_THEY_ARE = {".md", ".markdown", ".txt"}
MAX_BYTES = 64 << 20  # of a document, which whoever calls sees to before it is in memory
MAX_UNPACKED_BYTES = 512 << 20
POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/")  # to files that git itself does not hold
# docutils may read no other file, run no raw HTML through, and has to take a document with faults as far as it goes.
RST_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "report_level": 5,
    "halt_level": 5,
    "warning_stream": False,
    "embed_stylesheet": False,
    "doctitle_xform": False,
    "initial_header_level": 1,
    "toc_backlinks": False,
    "footnote_backlinks": False,
    "syntax_highlight": "none",
    "math_output": "LaTeX",
}
DISABLED = " directive disabled."  # docutils' words for what the settings forbid
AS_UTF_8 = "save it as UTF-8"
RECOGNIZE = "a scanned document has to be recognized first"
NOTHING = "write something into it, or leave it out of the patterns"
NOT_UNDERSTOOD = 3  # docutils' level for a directive that it does not know; below it are what the settings forbid
WEB_ENCODINGS = {"iso8859-1": "cp1252", "ascii": "cp1252"}  # what browsers take these names for, and so their pages
EMBEDDED = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]{200,}")
UNKNOWN_SIGN = re.compile(r"\(cid:\d+\)")  # pdfminer's word for one


@dataclass(frozen=True, kw_only=True)
class Converted:
    """`doubt` is a sentence about what the text may lack, or empty."""

    text: str
    doubt: str = ""


def converted(path: str, data: bytes) -> Converted:
    """The document's text.

    Raises:
        SourceError: it has none, or is of a kind that we cannot read.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if data.startswith(POINTERS):
        raise SourceError(
            f"document {path} lies in Git LFS or git-annex, which is not read", remedy="commit the file itself"
        )
    if suffix not in AS_THEY_ARE | CONVERTERS.keys():
        raise SourceError(f"document {path} is of a kind that is not read", remedy=REMEDY)
    if not data.strip():
        raise SourceError(f"document {path} is empty", remedy=NOTHING)
    found = _as_it_is(path, data) if suffix in AS_THEY_ARE else _converted(path, data, suffix)
    if "\0" in found.text:
        raise SourceError(f"document {path} is not UTF-8 text: it holds NUL characters", remedy=AS_UTF_8)
    if not any(map(str.isalnum, found.text)):
        raise SourceError(f"document {path} holds no text", remedy=RECOGNIZE if suffix == ".pdf" else NOTHING)
    return found


def _as_it_is(path: str, data: bytes) -> Converted:
    text = _decoded(path, data)
    embedded = sum(len(found[0]) for found in EMBEDDED.finditer(text))
    doubt = (
        f"{embedded} letters of it are embedded files in base64, which nobody can read; link to files"
        if embedded
        else ""
    )
    return Converted(text=text, doubt=doubt)


def _decoded(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"document {path} is not UTF-8 text: byte {data[error.start]:#04x} in line {line}"
        raise SourceError(message, remedy=AS_UTF_8) from error


def _converted(path: str, data: bytes, suffix: str) -> Converted:
    try:
        with boundary(
            SourceError, f"converting document {path}", remedy="check that it opens, or commit it as Markdown"
        ):
            return CONVERTERS[suffix](data)
    except SourceError as error:
        if isinstance(error.__cause__, ImportError):
            raise SourceError(
                f"document {path} is no Markdown, and what converts it is not installed",
                remedy="pip install 'instructlab-pipeline[documents]'",
            ) from error
        raise


def _from_pdf(data: bytes) -> Converted:
    from markitdown import StreamInfo
    from markitdown.converters import PdfConverter

    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns of what it does all the same
    doubt = _pages_without_text(data)
    text = PdfConverter().convert(io.BytesIO(data), StreamInfo(extension=".pdf")).markdown
    if unknown := len(UNKNOWN_SIGN.findall(text)):
        doubt = doubt or f"{unknown} signs of fonts that do not tell which letters they are"
    return Converted(text=text.replace("\f", "\n\n"), doubt=doubt)


def _pages_without_text(data: bytes) -> str:
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        with PdfDocument(data) as document:
            empty = [number for number, page in enumerate(document, start=1) if not page.get_textpage().count_chars()]
    except PdfiumError as error:
        raise ValueError("it is locked with a password" if "password" in str(error) else str(error)) from error
    return f"no text on page {', '.join(map(str, empty))}: {RECOGNIZE}" if empty else ""


def _from_docx(data: bytes) -> Converted:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_UNPACKED_BYTES:
        raise ValueError(f"unpacked it has {unpacked} bytes, at most {MAX_UNPACKED_BYTES} are taken")
    return Converted(text=DocxConverter().convert(io.BytesIO(data), StreamInfo(extension=".docx")).markdown)


def _from_html(data: bytes) -> Converted:
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    about = StreamInfo(extension=".html", charset=_charset(data))
    return Converted(text=HtmlConverter().convert(io.BytesIO(data), about, strict=True).markdown)


def _charset(data: bytes) -> str:
    """As the page says, else UTF-8: a guess would make other letters of them in silence."""
    from bs4.dammit import EncodingDetector

    data, marked = EncodingDetector.strip_byte_order_mark(data)
    declared = str(marked or EncodingDetector.find_declared_encoding(data, is_html=True) or "utf-8")
    try:
        charset = WEB_ENCODINGS.get(codecs.lookup(declared).name, declared)
        data.decode(charset)
    except (UnicodeDecodeError, LookupError) as error:
        raise ValueError(f"it is not written in the encoding that it names, or UTF-8 ({error})") from error
    return charset


def _from_rst(data: bytes) -> Converted:
    from docutils.core import publish_doctree, publish_from_doctree
    from docutils.parsers.rst.directives import misc, register_directive

    register_directive("date", misc.Replace)  # today's would be another text each day
    tree = publish_doctree(data.decode("utf-8-sig"), settings_overrides=RST_SETTINGS)
    doubt = _left_out(tree)
    _keep_what_was_not_understood(tree)
    text = _from_html(publish_from_doctree(tree, writer="html5", settings_overrides=RST_SETTINGS)).text
    return Converted(text=text, doubt=doubt)


def _left_out(tree: Any) -> str:
    """Tables of contents go, which say what the headings say; a doubt about what is to come from other files."""
    from docutils import nodes

    for topic in [topic for topic in tree.findall(nodes.topic) if "contents" in topic["classes"]]:
        topic.parent.remove(topic)
    disabled = [message for message in tree.findall(nodes.system_message) if DISABLED in message.astext()]
    return f"{len(disabled)} of its directives name other files, or raw text, and are left out" if disabled else ""


def _keep_what_was_not_understood(tree: Any) -> None:
    """Directives and roles of other programs (Sphinx) as they are written, and no complaints about them."""
    from docutils import nodes

    tree.transform_messages = []
    for section in list(tree.findall(nodes.section)):
        if "system-messages" in section["classes"]:
            section.parent.remove(section)
    for message in list(tree.findall(nodes.system_message)):
        source = [child for child in message if isinstance(child, nodes.literal_block)]
        message.parent.replace(message, source if message["level"] >= NOT_UNDERSTOOD else [])
    for inline in list(tree.findall(nodes.problematic)):
        inline.parent.replace(inline, nodes.Text(inline.astext()))


CONVERTERS: dict[str, Callable[[bytes], Converted]] = {
    ".pdf": _from_pdf,
    ".docx": _from_docx,
    ".html": _from_html,
    ".htm": _from_html,
    ".rst": _from_rst,
}
REMEDY = f"name files that end in {', '.join(sorted(AS_THEY_ARE | CONVERTERS.keys()))} in the patterns"
