from pathlib import Path

import pytest

from instructlab_pipeline.errors import ParameterError
from instructlab_pipeline.publish.reference import LayoutReference, RegistryReference, parse, version_tag


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("quay.io/org/name:tag", "quay.io", "org/name", "tag"),
        ("oci://quay.io/org/name:tag", "quay.io", "org/name", "tag"),
        ("docker://quay.io/org/name:tag", "quay.io", "org/name", "tag"),
        ("localhost:5000/x:y", "localhost:5000", "x", "y"),
        ("quay.io/your-org/deep/er/model:1.0", "quay.io", "your-org/deep/er/model", "1.0"),
        ("quay.io/org/name", "quay.io", "org/name", "latest"),
        ("[::1]:5000/x:y", "[::1]:5000", "x", "y"),
        ("docker.io/busybox:1", "docker.io", "library/busybox", "1"),
        ("index.docker.io/org/name", "docker.io", "org/name", "latest"),
    ],
)
def test_a_registry_reference_is_taken_apart(text, registry, repository, tag):
    assert parse(text) == RegistryReference(registry=registry, repository=repository, tag=tag)


@pytest.mark.parametrize(
    ("text", "directory", "tag"),
    [("oci:images:1.0", "images", "1.0"), ("oci:/a/b c:x", "/a/b c", "x"), ("oci:images", "images", "latest")],
)
def test_a_layout_reference_is_a_folder_and_a_tag(text, directory, tag):
    assert parse(text) == LayoutReference(directory=Path(directory), tag=tag)


@pytest.mark.parametrize("text", ["name", "quay.io/", "oci:", "oci:///x:1", "quay.io/org/name@sha256:00"])
def test_what_names_no_image_is_refused_with_the_parameter(text):
    with pytest.raises(ParameterError, match="output_oci_model_uri="):
        parse(text)


@pytest.mark.parametrize("text", ["quay.io/org/name:tag", "oci:images:1.0"])
def test_a_reference_prints_as_it_is_written(text):
    assert str(parse(text)) == text


def test_a_pinned_reference_names_the_digest():
    assert parse("quay.io/org/name:tag").pinned("sha256:12") == "quay.io/org/name@sha256:12"
    assert parse("oci:images:1").pinned("sha256:12") == "oci:images@sha256:12"


def test_build_metadata_of_a_version_becomes_a_tag():
    assert version_tag("1.2.3-rc.1+build.5") == "1.2.3-rc.1_build.5"
