"""What the server tells of its models, from the headers of their files."""

from __future__ import annotations

import math

from ggufvlm.cache.store import digest
from ggufvlm.errors import UsageError
from ggufvlm.gguf.fingerprint import file_fingerprint
from ggufvlm.gguf.header import read_header
from ggufvlm.gguf.names import quant_of, split_parts
from ggufvlm.grounding.families import convention_of
from ggufvlm.models.files import ModelFiles
from ggufvlm.server.contract import ModelCard


def make_card(files: ModelFiles) -> ModelCard:
    """The card of a model that is not loaded. Reads headers: some 10 ms.

    Raises:
        ModelError: a file is damaged.
    """
    parts = split_parts(files.model)
    headers = [read_header(part) for part in parts]
    first = headers[0]
    return ModelCard(
        name=files.name,
        created=int(parts[0].stat().st_mtime),
        size=sum(path.stat().st_size for path in (*parts, files.mmproj)),
        digest=digest(file_fingerprint(files.model), file_fingerprint(files.mmproj)),
        architecture=first.architecture or "",
        parameters=sum(math.prod(tensor.shape) for header in headers for tensor in header.tensors.values()),
        quant=quant_of(files.model.name) or "",
        n_ctx=first.integer(f"{first.architecture}.context_length") or 0,
        template=first.chat_template or "",
        box_scale=_box_scale(files),
    )


def _box_scale(files: ModelFiles) -> float | None:
    try:
        return convention_of(files).scale
    except UsageError:  # it cannot tell where things are
        return None
