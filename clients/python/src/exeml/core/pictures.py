"""Pictures as people have them in Python: a path, bytes, a PIL image, an array."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import numpy
    import PIL.Image

Picture = Union[str, Path, bytes, "PIL.Image.Image", "numpy.ndarray[Any, Any]"]


def encoded(picture: Picture) -> tuple[str, bytes]:
    """A file name and the content of an image file. Arrays and PIL images are written as PNG, losslessly.

    An array is [height, width], [height, width, 1 | 3 | 4] of uint8, or of floats from 0 to 1, in RGB.
    """
    if isinstance(picture, (str, Path)):
        path = Path(picture)
        return path.name, path.read_bytes()
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return "image", bytes(picture)
    if hasattr(picture, "save") and hasattr(picture, "mode"):
        return "image.png", _png(picture)
    if hasattr(picture, "__array_interface__") or hasattr(picture, "__array__"):
        return "image.png", _png(_from_array(picture))
    raise TypeError(f"{type(picture).__name__} is no path, bytes, PIL image or array.")


def _png(image: Any) -> bytes:
    content = io.BytesIO()
    if image.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    image.save(content, "PNG")
    return content.getvalue()


def _from_array(values: Any) -> Any:
    try:
        import numpy
        import PIL.Image
    except ImportError as error:
        raise TypeError("An array needs the packages numpy and pillow.") from error
    array = numpy.asarray(values)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise ValueError(f"An array of the shape {array.shape} is no picture.")
    if array.dtype.kind == "f":
        if not array.size or array.min() < 0 or array.max() > 1:
            raise ValueError("Floats of a picture lie between 0 and 1; those of an uint8 between 0 and 255.")
        array = (array * 255).round().astype(numpy.uint8)
    if array.dtype == bool:
        array = array.astype(numpy.uint8) * 255
    if array.dtype != numpy.uint8:
        raise ValueError(f"An array of {array.dtype} is no picture: use uint8, or floats from 0 to 1.")
    return PIL.Image.fromarray(array)
