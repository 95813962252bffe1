import pytest

from instructlab_pipeline.taxonomy.patterns import matching, near_misses

PATHS = [".hidden.md", "README.md", "docs/a.md", "docs/deep/b.md", "docs/deep/c.txt", "moons.md", "drafts/[1].md"]


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.md", ["README.md", "moons.md"]),
        ("./moons.md", ["moons.md"]),
        ("docs/*", ["docs/a.md"]),
        ("docs/**", ["docs/a.md", "docs/deep/b.md", "docs/deep/c.txt"]),
        ("**/*.md", ["README.md", "docs/a.md", "docs/deep/b.md", "moons.md", "drafts/[1].md"]),
        ("docs/**/b.md", ["docs/deep/b.md"]),
        ("**/deep/*.tx?", ["docs/deep/c.txt"]),
        ("[Mm]oons.md", ["moons.md"]),
        (".hidden.*", [".hidden.md"]),
        ("../*.md", []),
        ("*.pdf", []),
        ("", []),
        ("drafts/[1].md", ["drafts/[1].md"]),
    ],
)
def test_a_pattern_matches_as_in_a_shell(pattern, paths):
    assert matching(pattern, PATHS) == paths


def test_no_pattern_takes_long_to_say_no():
    assert matching("/".join(["**", "a"] * 15 + ["b"]), ["/".join("a" * 60)]) == []


def test_near_misses_see_past_case_folder_and_spelling():
    assert near_misses("Moons.md", PATHS) == ["moons.md"]
    assert "docs/a.md" in near_misses("a.md", PATHS)
    assert near_misses("monos.md", PATHS)[0] == "moons.md"
    assert near_misses("docs/", PATHS) == ["docs/**"]
    assert near_misses("entirely-different.pdf", PATHS) == []
