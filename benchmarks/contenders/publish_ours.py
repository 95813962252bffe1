"""Our push, as a process of its own: a training stage's model to a registry or an OCI layout. Prints what was sent.

publish_ours.py FOLDER REFERENCE CACHE

A folder that is not sealed yet is sealed first, as a run does at the end of training.
"""

import asyncio
import json
import sys
from pathlib import Path

from instructlab_pipeline import artifacts
from instructlab_pipeline.artifacts import Artifact
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.image import Entry, layers
from instructlab_pipeline.publish.inputs import TUNED
from instructlab_pipeline.publish.layout import open_layout
from instructlab_pipeline.publish.memory import MEMORY, Memory
from instructlab_pipeline.publish.push import Image, Pushed, push, tag_all
from instructlab_pipeline.publish.reference import Reference, RegistryReference, parse
from instructlab_pipeline.publish.registry import connect
from instructlab_pipeline.publish.sealing import layer_readers


def main() -> None:
    folder, reference, cache = Path(sys.argv[1]), parse(sys.argv[2]), Path(sys.argv[3])
    trained = artifacts.read(folder) or artifacts.seal(
        folder, kind="train_phase_2", key="k", inputs={}, facts={}, readers=layer_readers(cache)
    )
    pushed = asyncio.run(_push(Image(layers=layers(_entries(trained)), annotations={}), reference, cache))
    print(json.dumps({"digest": pushed.digest, "bytes_sent": pushed.bytes_sent}))


async def _push(image: Image, reference: Reference, cache: Path) -> Pushed:
    memory = Memory(cache / MEMORY, reference)
    if isinstance(reference, RegistryReference):
        async with connect(reference, insecure=True) as registry:
            return await _push_to(registry, image, reference, memory)
    async with open_layout(reference.directory) as layout:
        return await _push_to(layout, image, reference, memory)


async def _push_to(destination: Destination, image: Image, reference: Reference, memory: Memory) -> Pushed:
    pushed = await push(image, destination, memory=memory, events=Events())
    await tag_all([reference.tag], pushed, destination)
    return pushed


def _entries(trained: Artifact) -> list[Entry]:
    return [
        Entry(
            path=file.path.removeprefix(TUNED),
            content=SealedFile(path=trained / file.path, size=file.size, sha256=file.sha256),
        )
        for file in trained.files
    ]


if __name__ == "__main__":
    main()
