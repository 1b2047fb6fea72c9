"""How the built-in model was made, and is made again: scenes with known answers, training, GGUF files, a reference.

On two cores, with torch, transformers, tokenizers, numpy and pillow (none of which the package needs)::

    python -m tests.support.demo_model.train --minutes 60 --out run
    python -m tests.support.demo_model.export run ggufvlm/demo
    python -m tests.support.demo_model.reference run tests/data/qwen2vl

The weights in the package were trained on from those before them, which had seen one or two images before the question
(:mod:`.train` does so by itself). Its vocabulary of 596 tokens is the first one's, with ``<|video_pad|>`` behind it.
"""
