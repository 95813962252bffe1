from instructlab_pipeline.cli.verify import in_words
from instructlab_pipeline.publish.verification import Verified

FOUND = Verified(
    reference="quay.io/org/m:1",
    digest="sha256:12",
    signature="none",
    name="river-model",
    version="0.1.0",
    evaluation={
        "clear": True,
        "n": 100,
        "threshold": 0.8,
        "metrics": {"accuracy": {"tuned": 0.9, "interval": [0.84, 0.94]}},
    },
    model_digest="sha256:34",
    base_image="\x1b[2Kubi",
    base_model={"uri": "s3://bucket/base", "digest": "sha256:56"},
    dataset_digest="sha256:78",
    taxonomy={"url": "https://example.org/t.git\nsignature   valid", "commit": "c0ffee"},
    program="instructlab-pipeline 0.1.0",
)


def test_an_image_cannot_write_lines_of_its_own_into_what_is_told_of_it():
    lines = in_words(FOUND).splitlines()
    assert [line.split()[0] for line in lines].count("signature") == 1
    assert "signature   none" in lines
    assert "\x1b" not in in_words(FOUND)
