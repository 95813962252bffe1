"""Our push, as a process of its own: the files of a folder to a registry or an OCI layout. Prints what was sent.

publish_ours.py FOLDER REFERENCE CACHE
"""

import asyncio
import json
import sys
from pathlib import Path

from instructlab_pipeline.artifacts import file_digest
from instructlab_pipeline.events import Events
from instructlab_pipeline.publish.blob import SealedFile
from instructlab_pipeline.publish.destination import Destination
from instructlab_pipeline.publish.image import Entry, layers
from instructlab_pipeline.publish.layout import open_layout
from instructlab_pipeline.publish.memory import Memory
from instructlab_pipeline.publish.push import Image, Pushed, push, tag_all
from instructlab_pipeline.publish.reference import Reference, RegistryReference, parse
from instructlab_pipeline.publish.registry import connect


def main() -> None:
    folder, reference, cache = Path(sys.argv[1]), parse(sys.argv[2]), Path(sys.argv[3])
    image = Image(layers=layers(_entries(folder, cache)), annotations={})
    pushed = asyncio.run(_push(image, reference, cache))
    print(json.dumps({"digest": pushed.digest, "bytes_sent": pushed.bytes_sent}))


async def _push(image: Image, reference: Reference, cache: Path) -> Pushed:
    memory = Memory(cache / "layers", reference)
    if isinstance(reference, RegistryReference):
        async with connect(reference, insecure=True) as registry:
            return await _push_to(registry, image, reference, memory)
    with open_layout(reference.directory) as layout:
        return await _push_to(layout, image, reference, memory)


async def _push_to(destination: Destination, image: Image, reference: Reference, memory: Memory) -> Pushed:
    pushed = await push(image, destination, memory=memory, events=Events())
    await tag_all([reference.tag], pushed, destination)
    return pushed


def _entries(folder: Path, cache: Path) -> list[Entry]:
    """As a sealed folder knows them: with the digests that sealing has written down."""
    seals = cache / "seals.json"
    if not seals.exists():
        cache.mkdir(parents=True, exist_ok=True)
        seals.write_text(json.dumps({path.name: file_digest(path) for path in sorted(folder.iterdir())}))
    return [
        Entry(
            path=name,
            content=SealedFile(path=folder / name, size=(folder / name).stat().st_size, sha256=sha256),
        )
        for name, sha256 in json.loads(seals.read_text()).items()
    ]


if __name__ == "__main__":
    main()
