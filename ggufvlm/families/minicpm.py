"""MiniCPM-V: images whole and in slices, which libmtmd cuts as the reference does."""

from __future__ import annotations

from ggufvlm.families.convention import REFERENCE_CONTROL, REFERENCE_EVERYTHING, REFERENCE_LABELLED, Convention
from ggufvlm.families.family import Family
from ggufvlm.families.templates import IMAGE_LINE, chatml

# OpenBMB/MiniCPM-V#982, #772
_BOXES = Convention(
    name="minicpm_box",
    who="MiniCPM-V",
    scale=1000,
    frame="image",  # seen whole, stretched over one square, and in slices with bars of their own
    everything=REFERENCE_EVERYTHING,
    labelled=REFERENCE_LABELLED,
    control=REFERENCE_CONTROL,
    one_by_one=True,
    shows_control=True,
)

FAMILIES = (
    Family(
        name="MiniCPM-V",
        projectors=("resampler", "minicpmv4_6"),
        word="minicpm",
        turns=chatml(IMAGE_LINE),
        convention=_BOXES,
    ),
)
