"""Whether a layer in the store is still what its digests say: its blob, and the folder that it was unpacked to.

A folder with a blob is compared with what the blob unpacks to, one without is packed again: both give its diff_id.
Rules: synchronous; reads the layer, and unpacks into a work folder that goes again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import ImageError
from .layers import Blob, extract
from .pack import pack

if TYPE_CHECKING:
    from .store import Layer, Store


def differences(store: Store, layer: Layer) -> list[str]:
    """What is damaged, in words. Raises FileNotFoundError where the layer is removed meanwhile."""
    folder = store.folder(layer.diff_id)
    if not layer.blob:
        packed = pack(folder)
        return [] if packed.diff_id == layer.diff_id else ["its files were changed"]
    if not store.blobs.has(layer.blob):
        return [f"its blob is not there: {layer.blob}"]
    with store.working() as work:
        fresh = f"{work}/layer"
        os.mkdir(fresh, 0o755)
        try:
            made = extract(Blob(lambda: store.blobs.open(layer.blob), layer.blob), fresh)
        except ImageError as error:
            return [f"its blob is damaged: {layer.blob}: {error}"]
        if made.diff_id != layer.diff_id:
            return [f"its blob unpacks to something else: {made.diff_id}"]
        return [] if pack(fresh).diff_id == pack(folder).diff_id else ["its files were changed"]
