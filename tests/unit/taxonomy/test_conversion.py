from importlib.util import find_spec

import pytest

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.conversion import text_of


def test_markdown_stays_as_it_is():
    assert text_of("a/moons.MD", "# Möons\n".encode()) == "# Möons\n"


def test_lines_end_alike_wherever_the_document_was_written():
    assert text_of("moons.md", b"# Moons\r\n\r\nIo is one.\r\n") == text_of("moons.md", b"# Moons\n\nIo is one.\n")


def test_a_byte_order_mark_is_no_text():
    assert text_of("moons.md", b"\xef\xbb\xbf# Moons") == "# Moons"


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("moons.md", b" \n", "holds no text"),
        ("moons.md", b"\xff", "is not UTF-8 text"),
        ("moons.md", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "lies in Git LFS"),
        ("moons.png", b"\x89PNG", "of a kind that is not read"),
    ],
)
def test_a_document_without_readable_text_is_refused(path, data, message):
    with pytest.raises(SourceError, match=message):
        text_of(path, data)


@pytest.mark.skipif(find_spec("markitdown") is not None, reason="the documents extra is installed")
def test_without_the_extra_other_kinds_name_what_converts_them():
    with pytest.raises(SourceError, match=r"moons\.pdf") as refusal:
        text_of("moons.pdf", b"%PDF-1.4")
    assert "instructlab-pipeline[documents]" in refusal.value.remedy


def test_with_the_extra_other_kinds_become_markdown():
    pytest.importorskip("markitdown", reason="the documents extra is not installed")
    assert text_of("moons.html", b"<h1>Moons</h1><p>Io is one.</p>") == "# Moons\n\nIo is one."
