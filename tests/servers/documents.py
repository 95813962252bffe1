"""Documents of every kind, made by hand: the least that a reader of each format takes."""

import base64
import io
import zipfile
from collections.abc import Sequence

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PARTS = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def pdf(*pages: Sequence[str]) -> bytes:
    """A page for each list of lines; one without lines is empty, as a scanned one is to a reader of text."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in enumerate(pages):
        place = f"/MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R"
        shown = "".join(f"BT /F1 12 Tf 72 {720 - 20 * row} Td ({line}) Tj ET\n" for row, line in enumerate(lines))
        objects.append(f"<< /Type /Page /Parent 2 0 R {place} >>")
        objects.append(f"<< /Length {len(shown)} >>\nstream\n{shown}endstream")
    return _with_table_of_objects(objects)


def _with_table_of_objects(objects: Sequence[str]) -> bytes:
    text, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    return (text + f"xref\n0 {size}\n0000000000 65535 f \n{table}{end}").encode("latin-1")


def docx(title: str, *paragraphs: str) -> bytes:
    """A heading and paragraphs."""
    heading = f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{title}</w:t></w:r></w:p>'
    body = heading + "".join(f"<w:p><w:r><w:t>{paragraph}</w:t></w:r></w:p>" for paragraph in paragraphs)
    style = '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    kinds = "".join(
        f'<Override PartName="/word/{part}.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        f'wordprocessingml.{kind}+xml"/>'
        for part, kind in (("document", "document.main"), ("styles", "styles"))
    )
    default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    return _packed(
        {
            "[Content_Types].xml": f'<Types xmlns="{PARTS}/content-types">{default}{kinds}</Types>',
            "_rels/.rels": _relationships("officeDocument", "word/document.xml"),
            "word/_rels/document.xml.rels": _relationships("styles", "styles.xml"),
            "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
            "word/styles.xml": f'<w:styles xmlns:w="{WORD}">{style}</w:styles>',
        }
    )


def claiming(archive: bytes, size_bytes: int) -> bytes:
    """The archive with this as the size of its first file, unpacked."""
    place = archive.index(b"PK\x01\x02") + 24
    return archive[:place] + size_bytes.to_bytes(4, "little") + archive[place + 4 :]


def _packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _relationships(kind: str, target: str) -> str:
    link = f'<Relationship Id="r1" Type="{OFFICE}/{kind}" Target="{target}"/>'
    return f'<Relationships xmlns="{PARTS}/relationships">{link}</Relationships>'


# "Io is one." behind the password `secret`, as qpdf encrypts it (AES, 128 bits).
LOCKED = base64.b64decode(
    "JVBERi0xLjYKJb/3ov4KMSAwIG9iago8PCAvUGFnZXMgMiAwIFIgL1R5cGUgL0NhdGFsb2cgPj4KZW5kb2JqCjIgMCBvYmoKPDwgL0NvdW50ID"
    "EgL0tpZHMgWyAzIDAgUiBdIC9UeXBlIC9QYWdlcyA+PgplbmRvYmoKMyAwIG9iago8PCAvQ29udGVudHMgNCAwIFIgL01lZGlhQm94IFsgMCAw"
    "IDYxMiA3OTIgXSAvUGFyZW50IDIgMCBSIC9SZXNvdXJjZXMgPDwgL0ZvbnQgPDwgL0YxIDUgMCBSID4+ID4+IC9UeXBlIC9QYWdlID4+CmVuZG"
    "9iago0IDAgb2JqCjw8IC9MZW5ndGggODAgL0ZpbHRlciAvRmxhdGVEZWNvZGUgPj4Kc3RyZWFtCj7p8/0qsFgZV8xeVjswyY9gJ6sejN2jnqoC"
    "sFSQIUVGnX8nJOulOChzNOJ4u/PjYcPW1T85dYEDC3HDAnJytAc7DY4nuGiaAAVhp8eqKpDvZW5kc3RyZWFtCmVuZG9iago1IDAgb2JqCjw8IC"
    "9CYXNlRm9udCAvSGVsdmV0aWNhIC9TdWJ0eXBlIC9UeXBlMSAvVHlwZSAvRm9udCA+PgplbmRvYmoKNiAwIG9iago8PCAvQ0YgPDwgL1N0ZENG"
    "IDw8IC9BdXRoRXZlbnQgL0RvY09wZW4gL0NGTSAvQUVTVjIgL0xlbmd0aCAxNiA+PiA+PiAvRmlsdGVyIC9TdGFuZGFyZCAvTGVuZ3RoIDEyOC"
    "AvTyA8MGRiNTg1NWZjNTMyNjU2OWU3NjU5MDZjYWY2NGU0NDI5YTRjMjBkNmU5OTZmZGVmOTYzZTliNTA4MGY5ZTA4Mz4gL1AgLTQgL1IgNCAv"
    "U3RtRiAvU3RkQ0YgL1N0ckYgL1N0ZENGIC9VIDxlNWY5N2QzYTc4ODZiZTUyMWRkNjA3YmYxNmNmNjkwYjAxMjI0NTZhOTFiYWU1MTM0MjczYT"
    "ZkYjEzNGM4N2M0PiAvViA0ID4+CmVuZG9iagp4cmVmCjAgNwowMDAwMDAwMDAwIDY1NTM1IGYgCjAwMDAwMDAwMTUgMDAwMDAgbiAKMDAwMDAw"
    "MDA2NCAwMDAwMCBuIAowMDAwMDAwMTIzIDAwMDAwIG4gCjAwMDAwMDAyNTEgMDAwMDAgbiAKMDAwMDAwMDQwMSAwMDAwMCBuIAowMDAwMDAwND"
    "cxIDAwMDAwIG4gCnRyYWlsZXIgPDwgL1Jvb3QgMSAwIFIgL1NpemUgNyAvSUQgWzwxM2JhNWNlNzM3NzIyZjNkZGQ2NTMxOTU1YjMyZTk0Nj48"
    "MTNiYTVjZTczNzcyMmYzZGRkNjUzMTk1NWIzMmU5NDY+XSAvRW5jcnlwdCA2IDAgUiA+PgpzdGFydHhyZWYKNzcwCiUlRU9GCg=="
)
