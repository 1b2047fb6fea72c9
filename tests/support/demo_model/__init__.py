"""How the next built-in model is made: scenes and clips with known answers, training, GGUF files, a reference.

With torch, transformers, tokenizers, gguf, numpy and pillow (the package needs none but the last two)::

    python -m tests.support.demo_model.train --minutes 60 --out run
    python -m tests.support.demo_model.export run ggufvlm/demo
    python -m tests.support.demo_model.reference ggufvlm/demo tests/data/qwen2vl

The model in the package was made with an earlier form of this, which knew one or two images before the question only.
``start`` holds weights that were trained on from it for 80 minutes on part of two cores, 1,700 steps: they are on the
way, and not better in all things. Of 100 questions each, as Transformers runs them: 100 right with the image first, 90
with the text first (14 before), 73 about one of two images, 65 about clips; boxes overlap the truth by 0.69 through our
own path (0.62 before); but 390 of 400 captions (396 before). Training goes on from there.

The vocabulary is the first one's 596 tokens with ``<|video_pad|>`` behind them.
"""
