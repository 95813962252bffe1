"""What was done before: layers that were hashed, and repositories that have them.

What is there already need not be read again to know that it is there.
"""

from dataclasses import dataclass
from pathlib import Path

from instructlab_pipeline.artifacts import digest_of, write_atomically
from instructlab_pipeline.publish.image import Layer
from instructlab_pipeline.publish.oci import DIGEST
from instructlab_pipeline.publish.reference import Reference, RegistryReference

MEMORY = "layers"  # its folder of the cache


@dataclass(frozen=True)
class Memory:
    """Small files, named by a layer's `identity`; shared by runs, and by processes at the same time.

    `reference` is where the image goes now, if it goes anywhere yet.
    """

    folder: Path
    reference: Reference | None = None

    def digest(self, layer: Layer) -> str | None:
        """None also where a disk that failed has left something else."""
        known = _text(self.folder / layer.identity)
        return known if known and DIGEST.fullmatch(known) else None

    def keep(self, identity: str, digest: str) -> None:
        write_atomically(self.folder / identity, digest)

    def repository(self, layer: Layer) -> str | None:
        """Another repository of the same registry to which the layer was sent before."""
        place = self._place(layer)
        known = _text(place) if place else None
        return None if known == getattr(self.reference, "repository", None) else known

    def keep_repository(self, layer: Layer) -> None:
        place = self._place(layer)
        if place and isinstance(self.reference, RegistryReference):
            write_atomically(place, self.reference.repository)

    def _place(self, layer: Layer) -> Path | None:
        if not isinstance(self.reference, RegistryReference):
            return None
        return self.folder / digest_of(self.reference.registry)[:16] / layer.identity


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
