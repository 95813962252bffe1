import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.conversion import CONVERTERS, converted
from servers.documents import LOCKED, claiming, docx, pdf

HTML = """<html><head><title>Moons</title><script>evil()</script></head><body><h1>Moons</h1>
<p>Io is <b>one</b>.</p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>"""
RST = """\
Moons
=====

Io is *one*.

.. include:: /etc/passwd
.. raw:: html

   <script>evil()</script>

Europa
------

.. code-block:: python

   ice = True
"""


def text_of(path, data):
    return converted(path, data).text


def test_markdown_stays_as_it_is():
    assert text_of("a/moons.MD", "# Möons\n".encode()) == "# Möons\n"


def test_lines_end_alike_wherever_the_document_was_written():
    assert text_of("moons.md", b"# Moons\r\n\r\nIo is one.\r\n") == text_of("moons.md", b"# Moons\n\nIo is one.\n")


def test_pictures_in_base64_are_told():
    found = converted("moons.md", b"# Moons\n\n![Io](data:image/png;base64," + b"aB3/" * 100 + b")\n")
    assert found.doubt.startswith("422 letters of it are embedded files in base64")
    assert converted("moons.md", b"Write `data:image/png;base64,AAAA` for a picture.").doubt == ""


def test_a_byte_order_mark_is_no_text():
    assert text_of("moons.md", b"\xef\xbb\xbf# Moons") == "# Moons"


def test_html_becomes_markdown_without_its_scripts():
    text = text_of("moons.html", HTML.encode())
    assert text == "# Moons\n\nIo is **one**.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "windows-1252", "utf-16"])
def test_html_is_read_in_the_encoding_that_it_names(encoding):
    page = f'<meta charset="{encoding}"><p>größer</p>'.encode(encoding)
    assert converted("moons.html", page).text == "größer"


def test_html_that_names_no_encoding_is_utf_8():
    assert converted("moons.html", "<p>größer — 月</p>".encode()).text == "größer — 月"


def test_docx_becomes_markdown_with_its_headings():
    assert text_of("moons.docx", docx("Moons", "Io is one.", "Europa has ice.")) == (
        "# Moons\n\nIo is one.\n\nEuropa has ice."
    )


def test_rst_becomes_markdown_and_reads_no_other_file():
    text = text_of("moons.rst", RST.encode())
    assert text == "# Moons\n\nIo is *one*.\n\n## Europa\n\n```\nice = True\n```"


SPHINX = """\
Moons
=====

See :ref:`io` and |this|.

.. versionadded:: 2

   Europa has ice.

====  =====
a     b
====  ====
1     too wide
====  =====
"""


def test_what_rst_does_not_know_is_kept_as_it_is_written():
    text = text_of("moons.rst", SPHINX.encode())
    assert all(kept in text for kept in (":ref:`io`", "|this|", "Europa has ice.", "too wide"))
    assert "System Message" not in text
    assert "[" not in text


def test_rst_that_is_to_hold_other_files_is_told():
    found = converted("moons.rst", RST.encode())
    assert found.doubt == "2 of its directives name other files, or raw text, and are left out"
    assert converted("moons.rst", SPHINX.encode()).doubt == ""


def test_what_rst_would_make_up_is_left_out_and_no_heading_becomes_a_link():
    text = text_of("moons.rst", b"Moons\n=====\n\n.. contents::\n\nIo\n--\n\nAs of |now|.\n\n.. |now| date:: %Y\n")
    assert text == "# Moons\n\n## Io\n\nAs of %Y."


def test_html_of_windows_that_calls_itself_latin_1_is_read_as_browsers_read_it():
    page = '<meta charset="iso-8859-1"><p>“größer” — 5 €</p>'.encode("cp1252")
    assert converted("moons.html", page).text == "“größer” — 5 €"


def test_pdf_becomes_text_page_by_page():
    found = converted("moons.pdf", pdf(["Moons", "Io is one."], ["Europa has ice."]))
    assert found.text.split() == ["Moons", "Io", "is", "one.", "Europa", "has", "ice."]
    assert (found.doubt, "\f" in found.text) == ("", False)


def test_a_pdf_whose_fonts_do_not_tell_their_letters_is_told():
    found = converted("moons.pdf", pdf([r"Io is \(cid:12\)\(cid:7\)."]))
    assert found.doubt == "2 signs of fonts that do not tell which letters they are"


def test_a_pdf_of_which_pages_are_scanned_is_told():
    found = converted("moons.pdf", pdf(["Io is one."], [], ["Europa has ice."], []))
    assert found.doubt == "no text on page 2, 4: a scanned document has to be recognized first"


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("moons.md", b" \n", r"moons\.md is empty"),
        ("moons.md", "\u200b\ufeff---\n".encode(), "holds no text"),
        ("moons.md", b"Io\nis \xff one", r"is not UTF-8 text: byte 0xff in line 2"),
        ("moons.txt", "Io is one.".encode("utf-16"), "is not UTF-8 text: byte 0xff in line 1"),
        ("moons.txt", "Io is one.".encode("utf-16-le"), "it holds NUL characters"),
        ("moons.rst", "Größe\n=====\n".encode("latin-1"), r"converting document moons\.rst: 'utf-8'"),
        ("moons.md", b"/annex/objects/SHA256E-s3--abc.md\n", "lies in Git LFS or git-annex"),
        ("moons.md", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "lies in Git LFS"),
        ("moons.png", b"\x89PNG", "of a kind that is not read"),
        ("moons.pdf", pdf([]), "holds no text"),
        ("moons.pdf", b"%PDF-1.4\nbroken", r"converting document moons\.pdf"),
        ("moons.pdf", LOCKED, "it is locked with a password"),
        ("moons.html", "<p>größer</p>".encode("latin-1"), "not written in the encoding that it names, or UTF-8"),
        ("moons.html", b'<meta charset="nothing"><p>Io</p>', "not written in the encoding that it names"),
        ("moons.pdf", b"", r"moons\.pdf is empty"),
        ("moons.docx", b"PK no archive", r"converting document moons\.docx"),
        ("moons.docx", claiming(docx("Moons"), 600 << 20), "unpacked it has"),
        ("moons.html", b"<p></p>", "holds no text"),
        ("moons.html", b"<div>" * 20_000 + b"deep", r"converting document moons\.html"),
        ("moons.rst", b".. a comment", "holds no text"),
    ],
)
def test_a_document_without_readable_text_is_refused(path, data, message):
    with pytest.raises(SourceError, match=message):
        converted(path, data)


@given(data=st.binary(), suffix=st.sampled_from([*CONVERTERS, ".md"]), whole=st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_bytes_become_text_or_are_refused(data, suffix, whole):
    head = b"" if whole else {".pdf": pdf(["Io."])[:300], ".docx": docx("Io")[:400]}.get(suffix, b"Io\n==\n")
    try:
        text = converted(f"moons{suffix}", head + data).text
    except SourceError as error:
        text = str(error)
    assert text.strip()


def test_without_the_extra_other_kinds_name_what_converts_them():
    program = (
        "import sys; sys.modules['markitdown'] = None\n"  # as where it is not installed
        "from instructlab_pipeline.taxonomy.conversion import converted\n"
        "try: converted('moons.html', b'<p>Io</p>')\n"
        "except Exception as error: print(error.message, error.remedy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "document moons.html is no Markdown, and what converts it is not installed "
        "pip install 'instructlab-pipeline[documents]'\n"
    )
