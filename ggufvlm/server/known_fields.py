"""Fields of requests that clients send and no route reads: which would change an answer, and which would not.

Collected from what OpenAI, Ollama, llama.cpp's server, vLLM, TGI, SGLang, OpenRouter and their clients document.
"""

from __future__ import annotations

from typing import Any

_DEFAULT_SAMPLERS = (
    "edkypmxt",
    ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
    ["dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
)

CHANGES_ANSWER: dict[str, tuple[Any, ...]] = {
    # values that ask for nothing; null, empty texts, lists and objects never ask for anything
    # - which token comes next
    **dict.fromkeys(
        ("mirostat", "top_a", "xtc_probability", "dry_multiplier", "dynatemp_range", "smoothing_factor"), (0,)
    ),
    **dict.fromkeys(("typical_p", "typical", "tfs_z", "tfs", "encoder_repetition_penalty", "rep_pen"), (1,)),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "penalty_alpha", "rep_pen_range", "rep_pen_slope"), (0,)),
    **dict.fromkeys(("dynamic_temperature", "temperature_last", "watermark", "ban_eos_token", "safe_prompt"), (False,)),
    **dict.fromkeys(("rope_frequency_base", "rope_frequency_scale", "rope_freq_base", "rope_freq_scale"), (0,)),
    "guidance_scale": (1,),
    "adaptive_target": (-1,),
    "top_n_sigma": (0, -1),
    "penalize_newline": (True,),
    "penalize_nl": (True,),
    "samplers": _DEFAULT_SAMPLERS,
    "sampler_seq": _DEFAULT_SAMPLERS,
    "sampler_order": (),
    "do_sample": (True,),
    "num_beams": (1,),
    "use_beam_search": (False,),
    "early_stopping": (False,),
    "length_penalty": (1,),
    "diversity_penalty": (0,),
    "no_repeat_ngram_size": (0,),
    "min_keep": (0,),
    **dict.fromkeys(("logit_bias", "allowed_token_ids", "bad_words", "bad_words_ids", "banned_tokens"), ()),
    **dict.fromkeys(("logits_processors", "custom_logit_processor", "lora", "adapter_id", "cfg_scale"), ()),
    **dict.fromkeys(("lora_path", "lora_request", "adapters", "random_seed", "sampler_seed", "negative_prompt"), ()),
    # - where it ends
    **dict.fromkeys(("min_tokens", "min_new_tokens", "min_length", "n_indent"), (0,)),
    **dict.fromkeys(("ignore_eos", "include_stop_str_in_output", "return_full_text", "no_stop_trim"), (False,)),
    **dict.fromkeys(("stop_token_ids", "stop_sequences", "stop_strings", "stop_regex", "stopping_strings"), ()),
    **dict.fromkeys(("n_predict", "num_predict", "max_tokens", "max_completion_tokens", "max_new_tokens"), ()),
    **dict.fromkeys(("max_length", "max_output_tokens", "max_tokens_to_sample"), ()),
    "t_max_predict_ms": (0, -1),
    "max_time": (),
    # - how many, and what is told of them
    "best_of": (1,),
    "n": (1,),
    "n_cmpl": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "n_probs": (0,),
    "prompt_logprobs": (0, False),
    "echo": (False,),
    # - settings of other interfaces: read elsewhere under these names
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "repetition_penalty"), ()),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "repeat_last_n", "seed", "stop", "options"), ()),
    **dict.fromkeys(("generationConfig", "generation_config", "parameters", "extra_body", "sampling_params"), ()),
    # - its form
    **dict.fromkeys(("format", "response_format", "json_schema", "grammar", "structured_outputs", "ebnf"), ()),
    **dict.fromkeys(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "regex", "text_format"), ()),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "modalities": (["text"],),
    **dict.fromkeys(("audio", "verbosity"), ("medium",)),
    # - the prompt
    **dict.fromkeys(("system", "system_prompt", "system_instruction", "instructions", "prompt", "messages"), ()),
    **dict.fromkeys(("input", "content", "context", "template", "chat_template", "suffix", "documents"), ()),
    **dict.fromkeys(("input_prefix", "input_suffix", "prefix_prompt", "truncate_prompt_tokens"), ()),
    **dict.fromkeys(("tools", "functions", "tool_calls", "web_search_options", "plugins"), ()),
    **dict.fromkeys(("tool_choice", "function_call"), ("none", "auto")),
    "chat_template_kwargs": ({"enable_thinking": False},),
    "raw": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (),
    # - thinking, where no field of the route says it
    "think": (False,),
    "enable_thinking": (False,),
    "thinking": (False, {"type": "disabled"}),
    "thinking_budget": (0,),
    "reasoning_budget": (0, -1),
    # - how images are seen
    "detail": ("auto",),
    "vl_high_resolution_images": (False,),
    "enable_search": (False,),
    **dict.fromkeys(("min_pixels", "max_pixels", "mm_processor_kwargs", "media_io_kwargs"), ()),
    **dict.fromkeys(("file", "files", "attachments"), ()),
}
"""What would make another answer, or another number of them."""

WAYS_OUT = {
    **dict.fromkeys(("mirostat", "typical_p", "typical", "tfs_z", "tfs", "top_a"), "top_p or min_p"),
    **dict.fromkeys(
        ("n_predict", "num_predict", "max_tokens", "max_new_tokens"), "max_tokens, or num_predict in options"
    ),
    **dict.fromkeys(("max_length", "max_output_tokens"), "max_tokens, or num_predict in options"),
    **dict.fromkeys(("stop_sequences", "stop_strings", "stopping_strings"), "stop"),
    **dict.fromkeys(("system", "system_prompt", "instructions"), "a message of the role system"),
}
"""What a client may write instead."""

HARMLESS = frozenset(
    {
        # - who asks, and what becomes of it elsewhere
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "extra_headers"),
        *("prompt_cache_retention", "prediction", "request_id", "session_id", "conversation_id", "chat_id", "id"),
        *(
            "priority",
            "provider",
            "models",
            "route",
            "transforms",
            "usage",
            "tags",
            "timeout",
            "name",
            "stream_interval",
        ),
        *("user_id", "cache_salt", "background", "return_token_ids", "return_tokens_as_token_ids"),
        # - models here call no tools, whatever this says; thoughts are always told apart
        *("parallel_tool_calls", "reasoning_effort", "reasoning", "include_reasoning", "reasoning_format"),
        *("parse_tool_calls", "separate_reasoning", "stream_reasoning", "thinking_forced_open"),
        # - caches and numbers of llama.cpp's server
        *("cache_prompt", "id_slot", "slot_id", "timings_per_token", "return_progress", "return_tokens"),
        *("post_sampling_probs", "response_fields", "keep_alive", "n_keep", "n_discard", "n_cache_reuse"),
        *("speculative.n_max", "speculative.n_min", "speculative.p_min", "backend_sampling"),
        # - of samplers that are off
        *("mirostat_tau", "mirostat_eta", "xtc_threshold", "dynatemp_exponent", "dynatemp_low", "dynatemp_high"),
        *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "smoothing_curve"),
        "adaptive_decay",
        *("guided_decoding_backend", "guided_whitespace_pattern"),
    }
)
"""What makes no other answer."""

AT_START = frozenset(
    {
        *("num_thread", "num_gpu", "main_gpu", "num_batch", "use_mmap", "use_mlock", "low_vram", "numa", "vocab_only"),
        *("f16_kv", "logits_all", "embedding_only", "num_gqa", "num_keep", "num_ctx", "truncate", "shift", "n_batch"),
        *("n_threads", "n_ctx", "n_gpu_layers", "flash_attn", "kv_cache_type"),
    }
)
"""Where and how a model is computed, which is settled where the server is started. Told once in the log."""

IN_MESSAGE = frozenset(
    {
        *("refusal", "annotations", "reasoning_content", "reasoning_details", "thinking", "timestamp", "created_at"),
        *("cache_control", "weight", "additional_kwargs", "response_metadata", "usage_metadata", "example", "type"),
        *("status", "tool_name", "tool_call_id", "prefix", "partial", "index", "uuid", "done", "date", "model"),
    }
)
"""What makes no other answer where it stands in a message or in a part of one."""
