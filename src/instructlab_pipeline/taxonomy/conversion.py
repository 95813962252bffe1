"""A document as Markdown: Markdown and plain text as they are but for line ends, other kinds through `markitdown`."""

import io
from pathlib import PurePosixPath

from instructlab_pipeline.errors import SourceError, boundary

AS_THEY_ARE = {".md", ".markdown", ".txt"}
CONVERTED = {".pdf", ".docx", ".html", ".htm"}
MAX_BYTES = 64 << 20
LARGE_FILE_POINTER = b"version https://git-lfs.github.com/spec/"
REMEDY = f"name files that end in {', '.join(sorted(AS_THEY_ARE | CONVERTED))} in the patterns"


def text_of(path: str, data: bytes) -> str:
    """The document's text.

    Raises:
        SourceError: it has none, or is of a kind that we cannot read.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if len(data) > MAX_BYTES:
        raise SourceError(f"document {path} has {len(data)} bytes, at most {MAX_BYTES} are taken", remedy="split it")
    if data.startswith(LARGE_FILE_POINTER):
        raise SourceError(f"document {path} lies in Git LFS, which is not read", remedy="commit the file itself")
    if suffix not in AS_THEY_ARE | CONVERTED:
        raise SourceError(f"document {path} is of a kind that is not read", remedy=REMEDY)
    text = _decoded(path, data) if suffix in AS_THEY_ARE else _converted(path, data, suffix)
    if not text.strip():
        raise SourceError(f"document {path} holds no text", remedy="a scanned document has to be recognized first")
    return text


def _decoded(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"document {path} is not UTF-8 text: {error}", remedy="save it as UTF-8") from error


def _converted(path: str, data: bytes, suffix: str) -> str:
    try:
        from markitdown import MarkItDown, StreamInfo  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise SourceError(
            f"document {path} is no Markdown, and what converts it is not installed",
            remedy="pip install 'instructlab-pipeline[documents]'",
        ) from error
    with boundary(SourceError, f"converting document {path}", remedy="check that it opens, or commit it as Markdown"):
        converter = MarkItDown(enable_plugins=False)
        return str(converter.convert_stream(io.BytesIO(data), stream_info=StreamInfo(extension=suffix)).markdown)
