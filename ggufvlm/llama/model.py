"""A language model's weights."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from ggufvlm.errors import EngineError, ModelError
from ggufvlm.llama import log
from ggufvlm.llama.bindings import llama
from ggufvlm.llama.cancellation import CancelToken
from ggufvlm.llama.grammar import wait_for_vocab
from ggufvlm.llama.vocab import Vocab

OnProgress = Callable[[float], None]
"""Takes the finished fraction of the work, 0 to 1; what it raises stops the work."""


class LoadWatch:
    """The native progress callback of a load: passes the fraction on and stops a load that is cancelled."""

    def __init__(self, on_progress: OnProgress | None, cancel: CancelToken | None) -> None:
        self._on_progress = on_progress
        self._cancel = cancel or CancelToken()
        self._error: BaseException | None = None

    def __call__(self, fraction: float, _user_data: object) -> bool:
        try:
            if self._on_progress is not None:
                self._on_progress(fraction)
            self._cancel.check()
        except BaseException as error:  # noqa: BLE001 - raised again after the native call, which cannot pass it on
            self._error = error
        return self._error is None

    def raise_if_stopped(self) -> None:
        """Raises: LoadAborted if the load was cancelled; what the callback raised, if it did."""
        if self._error is not None:
            raise self._error


class Model:
    """Weights of a language model. Close it after every context and projector made from it."""

    def __init__(self, handle: Any, path: Path, *, is_skeleton: bool = False) -> None:
        self._handle = handle
        self.path = path
        self.is_skeleton = is_skeleton
        self.vocab = Vocab(handle)
        self.n_ctx_train: int = llama.llama_model_n_ctx_train(handle)
        self.n_embd_inp: int = llama.llama_model_n_embd_inp(handle)
        self.size_bytes: int = llama.llama_model_size(handle)
        self.can_cut_memory = not (llama.llama_model_is_recurrent(handle) or llama.llama_model_is_hybrid(handle))

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        n_gpu_layers: int = -1,
        on_progress: OnProgress | None = None,
        cancel: CancelToken | None = None,
    ) -> Model:
        """Load a GGUF.

        Args:
            path: the file.
            n_gpu_layers: layers on the GPU; -1 is all of them.
            on_progress: takes the loaded fraction.
            cancel: stops loading.

        Raises:
            ModelError: llama.cpp refuses the file; the message carries its reason.
            LoadAborted: ``cancel`` was cancelled.
        """
        log.forget()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        watch = LoadWatch(on_progress, cancel)
        callback = params.progress_callback = llama.llama_progress_callback(watch)
        handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        del callback
        watch.raise_if_stopped()
        if not handle:
            raise ModelError(log.explain(f"{path.name}: llama.cpp cannot load this model"))
        return cls(handle, path)

    @classmethod
    def skeleton(cls, path: Path) -> Model:
        """The model without its weights: vocabulary, template and shape, in a fraction of the time.

        Raises:
            ModelError: llama.cpp refuses the file.
        """
        log.forget()
        params = llama.llama_model_default_params()
        params.no_alloc, params.load_mode, params.n_gpu_layers = True, 0, 0
        handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not handle:
            raise ModelError(log.explain(f"{path.name}: llama.cpp cannot load this model"))
        return cls(handle, path, is_skeleton=True)

    @property
    def chat_template(self) -> str | None:
        """The Jinja template inside the GGUF."""
        text = llama.llama_model_chat_template(self.handle, None)
        return text.decode("utf-8", "replace") if text and text.strip() else None

    @property
    def tool_template(self) -> str | None:
        """The template inside the GGUF for dialogues with tools, where it has one of its own for them."""
        text = llama.llama_model_chat_template(self.handle, b"tool_use")
        return text.decode("utf-8", "replace") if text and b"{" in text else None

    def metadata(self, key: str) -> str | None:
        """A value from the GGUF's header as text, ``None`` if it is not there."""
        buffer = ctypes.create_string_buffer(1024)
        count = llama.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if count >= 0 else None

    @property
    def handle(self) -> Any:
        """The native pointer, for this folder only."""
        if self._handle is None:
            raise EngineError("the model is closed")
        return self._handle

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        if self._handle is not None:
            wait_for_vocab(self.vocab)
            llama.llama_model_free(self._handle)
            self._handle = None

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
