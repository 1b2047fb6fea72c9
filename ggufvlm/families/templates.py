"""Chat templates by name, for models whose GGUF carries none that works, as their authors' own code renders prompts.

All take messages whose content is a list of ``{"type": "image" | "text", "text": ...}``. Sources: LLaVA's
``conversation.py`` (vicuna_v1, mistral_instruct, chatml_direct), xtuner's templates (llama-3, phi-3), BakLLaVA's,
moondream's and Yi-VL's model cards, the ChatML description.
"""

from __future__ import annotations

SHOW = "{% macro show(content) %}{% for part in content %}{{ part.text }}{% endfor %}{% endmacro %}"
"""How a message's texts and images are printed: one behind the other."""

IMAGE_LINE = (
    "{% macro show(content) %}{% for part in content %}"
    "{% if part.type == 'image' %}{{ part.text + '\\n' }}{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endmacro %}"
)
"""The same with the end of a line behind each image."""


def chatml(show: str = SHOW, *, system: str = "") -> str:
    """The template of a model that was trained with ChatML.

    Args:
        show: :data:`SHOW` or :data:`IMAGE_LINE`.
        system: said first where a dialogue says nothing there.
    """
    said = "{{ '<|im_start|>system\\n" + system + "<|im_end|>\\n' }}"
    return (
        (show + "{% if messages[0].role != 'system' %}" + said + "{% endif %}" if system else show)
        + "{% for message in messages %}"
        "{{ '<|im_start|>' + message.role + '\\n' + show(message.content) + '<|im_end|>\\n' }}"
        "{% endfor %}{{ '<|im_start|>assistant\\n' }}"
    )


_VICUNA_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)

_VICUNA = (
    IMAGE_LINE + "{% if messages[0].role != 'system' %}{{ '" + _VICUNA_SYSTEM.replace("'", "\\'") + " ' }}{% endif %}"
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ show(message.content) + ' ' }}"
    "{% elif message.role == 'user' %}{{ 'USER: ' + show(message.content) + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + show(message.content) + eos_token }}{% endif %}"
    "{% endfor %}{{ 'ASSISTANT:' }}"
)
_LLAVA_MISTRAL = (
    IMAGE_LINE + "{% set ns = namespace(system='') %}{% for message in messages %}"
    "{% if message.role == 'system' %}{% set ns.system = '<<SYS>>\\n' + show(message.content) + '\\n<</SYS>>\\n\\n' %}"
    "{% elif message.role == 'user' %}{{ '[INST] ' + ns.system + show(message.content) + ' [/INST]' }}"
    "{% set ns.system = '' %}"
    "{% else %}{{ ' ' + show(message.content) + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_LLAVA_CHATML = (
    IMAGE_LINE
    + "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nAnswer the questions.<|im_end|>' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + show(message.content) + '<|im_end|>' }}"
    "{% endfor %}{{ '<|im_start|>assistant\\n' }}"
)
_LLAMA_3 = (
    IMAGE_LINE + "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + show(message.content) + '<|eot_id|>' }}"
    "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
)
_PHI_3 = (
    IMAGE_LINE + "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\\n' + show(message.content) + '<|end|>\\n' }}"
    "{% endfor %}{{ '<|assistant|>\\n' }}"
)
_BAKLLAVA = (
    IMAGE_LINE + "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ show(message.content) + '\\n' }}"
    "{% elif message.role == 'user' %}{{ 'USER: ' + show(message.content) + '\\n' }}"
    "{% else %}{{ 'ASSISTANT: ' + show(message.content) + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}{{ 'ASSISTANT:' }}"
)
_MOONDREAM = (
    "{% set names = {'user': 'Question: ', 'assistant': 'Answer: ', 'system': ''} %}"
    "{% for message in messages %}{% set ns = namespace(name=names[message.role]) %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}{{ part.text + '\\n\\n' }}"
    "{% else %}{{ ns.name + part.text }}{% set ns.name = '' %}{% endif %}"
    "{% endfor %}{{ '\\n\\n' }}"
    "{% endfor %}{{ 'Answer:' }}"
)
_YI = (
    IMAGE_LINE + "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ show(message.content) + '\\n\\n' }}"
    "{% elif message.role == 'user' %}{{ '### Human: ' + show(message.content) + '\\n' }}"
    "{% else %}{{ '### Assistant: ' + show(message.content) + '\\n' }}{% endif %}"
    "{% endfor %}{{ '### Assistant:' }}"
)
_PLAIN = "{% for message in messages %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endfor %}"

BUILTIN_TEMPLATES = {
    "vicuna": _VICUNA,
    "llava-mistral": _LLAVA_MISTRAL,
    "chatml": chatml(IMAGE_LINE),
    "llava-chatml": _LLAVA_CHATML,
    "llama-3": _LLAMA_3,
    "phi-3": _PHI_3,
    "bakllava": _BAKLLAVA,
    "moondream": _MOONDREAM,
    "yi": _YI,
    "plain": _PLAIN,
}
