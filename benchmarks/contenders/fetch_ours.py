"""Our own fetch of a base model: listing, cache, checksums and all.

python fetch_ours.py URI FOLDER
"""

import sys
from pathlib import Path

from measure import measured

from instructlab_pipeline.events import Events
from instructlab_pipeline.model.cache import fetched
from instructlab_pipeline.model.s3 import BucketSource
from instructlab_pipeline.model.source import wanted


def main(uri: str, folder: str) -> None:
    def work() -> int:
        source = BucketSource(uri)
        entries = wanted(uri, source.listing())
        fetched(source, entries, Path(folder), Events())
        return len(entries)

    import obstore  # noqa: F401 - starting up is not measured, theirs neither

    measured(work)


main(*sys.argv[1:])
