import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.taxonomy.chunks import SOLID_WINDOW, WINDOW, Chunker, capacity
from instructlab_pipeline.taxonomy.markdown import headings
from servers.tiny_model import write_tiny_model

BLOCKS = (
    "# Title",
    "## A heading\nwith text right below it",
    "Underlined\n==========",
    "A paragraph with wörds and 漢字, which goes on. And on.\nA second line of it.",
    "- one\n- two\n  - three",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "```\n# no heading\n\ncode\n```",
    "    indented code",
    "x" * 300,
    "<div>html</div>",
    "\u2028\u00a0\x1c",
    "\x1c\x1d",
)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model")) / "tokenizer.json"


def assert_nothing_lost(document, chunks):
    position = 0
    for chunk in chunks:
        assert document[chunk.start : chunk.end] == chunk.text
        assert chunk.start >= position
        assert chunk.text.strip()
        assert not document[position : chunk.start].strip()
        position = chunk.end
    assert not document[position:].strip()


@given(blocks=st.lists(st.sampled_from(BLOCKS)), gap=st.sampled_from(["\n\n", "\n", "\r\n\r\n", "\n \t\n\n"]))
@settings(max_examples=60, deadline=None)
def test_markdown_is_cut_with_nothing_lost_or_doubled(tokenizer_file, blocks, gap):
    document = gap.join(blocks)
    chunks = list(Chunker(tokenizer_file, max_tokens=40).chunks(document))
    assert_nothing_lost(document, chunks)
    assert all(0 < chunk.num_tokens <= 40 for chunk in chunks)


@given(document=st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_cut_with_nothing_lost_or_doubled(tokenizer_file, document):
    assert_nothing_lost(document, Chunker(tokenizer_file, max_tokens=16).chunks(document))


TABLE = "| a | b |\n|---|---|\n" + "\n".join(f"| {number} | {number} |" for number in range(3))
CODE = "```py\n# no heading\n\nx = 1\n```"
PARAGRAPH = "A paragraph of some words. And of some more words."
PIECES = st.sampled_from([TABLE, CODE, PARAGRAPH, "# Title", "- one\n- two"])


@given(pieces=st.lists(PIECES, max_size=12), max_tokens=st.integers(60, 120))
@settings(max_examples=150, deadline=None)
def test_tables_and_code_that_fit_are_not_cut(tokenizer_file, pieces, max_tokens):
    document = "\n\n".join(pieces)
    chunks = list(Chunker(tokenizer_file, max_tokens=max_tokens).chunks(document))
    assert_nothing_lost(document, chunks)
    assert all(chunk.num_tokens <= max_tokens for chunk in chunks)
    for block in (TABLE, CODE):
        assert sum(chunk.text.count(block) for chunk in chunks) == pieces.count(block)


def test_a_table_longer_than_a_chunk_is_cut_between_its_rows(tokenizer_file):
    rows = [f"| row {number} | value {number} |" for number in range(40)]
    document = "\n".join(["# Values", "", "| a | b |", "|---|---|", *rows])
    chunks = list(Chunker(tokenizer_file, max_tokens=60).chunks(document))
    assert_nothing_lost(document, chunks)
    assert sorted(line for chunk in chunks for line in chunk.text.splitlines() if "row" in line) == sorted(rows)


@pytest.mark.parametrize(
    "part",
    [
        "word " * 11 + "\n",
        "## Heading\n\nText.\n\n",
        "| a | b |\n",
        "aB3/",
        "a" * 9000 + " ",
        "\t",
        "月亮是地球的卫星。",
    ],
)
def test_a_long_document_is_cut_in_parts_with_nothing_lost(tokenizer_file, part):
    document = "# Title\n\n" + part * (WINDOW // len(part) + 10)
    chunks = list(Chunker(tokenizer_file, max_tokens=1000).chunks(document))
    assert_nothing_lost(document, chunks)
    assert all(0 < chunk.num_tokens <= 1000 for chunk in chunks)


@pytest.mark.parametrize("sign", ["e\u0301\u0302", "月亮是地球的卫星。"])
def test_what_has_no_spaces_is_cut_between_its_letters_and_sentences(tokenizer_file, sign):
    document = sign * (3 * SOLID_WINDOW // len(sign))
    chunks = list(Chunker(tokenizer_file, max_tokens=200).chunks(document))
    assert_nothing_lost(document, chunks)
    assert all(chunk.text == sign * (len(chunk.text) // len(sign)) for chunk in chunks)


def test_no_chunk_is_longer_than_it_may_be_where_the_splitter_counts_otherwise(tmp_path):
    """As with SentencePiece's tokenizers: a sign before each text, and bytes for emoji."""
    vocabulary = {"<unk>": 0, "\u2581": 1, **{f"<0x{byte:02X}>": 2 + byte for byte in range(256)}}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Prepend("\u2581")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    document = "👩\u200d👩\u200d👧\u200d👦" * 20
    chunks = list(Chunker(tmp_path / "tokenizer.json", max_tokens=50).chunks(document))
    assert_nothing_lost(document, chunks)
    assert all(chunk.num_tokens <= 50 for chunk in chunks)


def test_a_chunk_knows_the_headings_above_it(tokenizer_file):
    document = (
        "# Moons\n\nIntroduction.\n\n## Io\n\nText.\n\n```\n# no heading\n```\n\n### Seas\n\nNone.\n\n"
        "Europa\n------\n\nIce.\n"
    )
    paths = {chunk.text: chunk.headings for chunk in Chunker(tokenizer_file, max_tokens=25).chunks(document)}
    assert [headings for text, headings in paths.items() if text.startswith("## Io")] == [("Moons", "Io")]
    assert [headings for text, headings in paths.items() if "None." in text] == [("Moons", "Io", "Seas")]
    assert [headings for text, headings in paths.items() if "Ice." in text] == [("Moons", "Europa")]


@pytest.mark.parametrize(
    "document", ["- one\n- two\n---\n", "> quote\n---\n", "| a |\n---\n", "1. one\n---\n", "~~~\n# no\n", "```\n# no\n"]
)
def test_what_only_looks_like_a_heading_is_none(document):
    assert list(headings(document)) == []


def test_code_that_is_closed_in_its_line_hides_no_heading():
    assert [found.title for found in headings("```code``` in a line\n\n# Moons\n\nIo\n--\n")] == ["Moons", "Io"]


def test_the_capacity_leaves_half_of_the_sequence_free():
    assert capacity(512) == 256
    assert capacity(100_000) == 1000


def test_a_sequence_too_short_for_any_document_is_refused():
    with pytest.raises(SourceError, match="train_sequence_length is 20") as refusal:
        capacity(20)
    assert "32" in refusal.value.remedy


def test_a_tokenizer_that_is_none_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SourceError, match=r"tokenizer\.json"):
        Chunker(tmp_path / "tokenizer.json", max_tokens=100)
