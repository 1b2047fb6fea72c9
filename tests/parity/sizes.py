"""Image sizes of each family."""

from __future__ import annotations

from tests.parity.cases import Sizes

SIZES = {
    "qwen2_5_vl": Sizes(fitted=(168, 140), odd=((131, 97), (75, 210))),
    "qwen2_vl": Sizes(fitted=(140, 168), odd=((131, 97), (75, 210))),
    "qwen3_vl": Sizes(fitted=(256, 256), odd=((131, 97), (700, 130))),
    "gemma3": Sizes(fitted=(896, 896), odd=((300, 140), (90, 210))),
    "smolvlm": Sizes(fitted=(128, 128), odd=((300, 140), (90, 210), (40, 33))),
    "internvl": Sizes(fitted=(448, 448), odd=((120, 120), (300, 140))),
    "pixtral": Sizes(fitted=(128, 96), odd=((131, 97), (40, 33), (1400, 60))),
    "lfm2_vl": Sizes(fitted=(256, 256), odd=((300, 140), (700, 420), (1100, 560))),
    "llava": Sizes(fitted=(112, 112), odd=((131, 97), (75, 210))),
}
