"""`oci://registry/repository:tag`: an image with a model in it as a base model.

What this pipeline publishes is read in place, file by file. An image with compressed layers is fetched whole first.
"""

from functools import partial

from instructlab_pipeline.errors import SourceError
from instructlab_pipeline.model.source import PieceSource
from instructlab_pipeline.model.stage import SCHEMES, ModelInputs, Opener
from instructlab_pipeline.modelcar.image import Image
from instructlab_pipeline.modelcar.packed import PackedSource, is_known
from instructlab_pipeline.modelcar.ranges import PLAIN, RangesSource
from instructlab_pipeline.publish.oci import Descriptor


def schemes_of(inputs: ModelInputs) -> dict[str, Opener]:
    """All kinds of URIs that a base model can have."""
    return {**SCHEMES, "oci": partial(open_image, insecure=inputs.output_registry_insecure)}


def open_image(uri: str, *, insecure: bool = False) -> PieceSource:
    """The manifest says how it has to be read.

    Raises:
        SourceError: there is no such image, or it is packed in a way that we do not know.
        ServiceError: its registry failed.
    """
    image = Image(uri, insecure=insecure)
    layers = image.layers()
    foreign = [layer.media_type for layer in layers if not is_known(layer.media_type)]
    if foreign:
        raise SourceError(f"{uri} has a layer of type {foreign[0]}, which is not read", remedy="name a container image")
    in_place = RangesSource(image, _upper_plain(layers))
    return in_place if in_place.holds_model else PackedSource(image, layers)


def _upper_plain(layers: list[Descriptor]) -> list[Descriptor]:
    """Those on top that are not compressed: a base image's may lie below them."""
    packed = [number for number, layer in enumerate(layers) if layer.media_type not in PLAIN]
    return layers[packed[-1] + 1 :] if packed else layers
