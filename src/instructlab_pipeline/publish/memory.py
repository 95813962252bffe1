"""Layers that were hashed before: what is there already need not be read again to know that it is there."""

from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.artifacts import write_atomically
from instructlab_pipeline.publish.image import Layer


@dataclass(frozen=True)
class Memory:
    """One small file for each layer, named by its `identity`; shared by runs, and by processes at the same time."""

    folder: Path

    def digest(self, layer: Layer) -> str | None:
        try:
            return (self.folder / layer.identity).read_text()
        except FileNotFoundError:
            return None

    def keep(self, layer: Layer, digest: str) -> None:
        write_atomically(self.folder / layer.identity, digest)
