"""Make tests/data/templates/references.json again: what Transformers makes of real templates.

    python -m tests.families.make_template_references

Needs transformers and jinja2. Where a template refuses a dialogue, there is what it says.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

from tests.families.template_cases import BOS, CASES, EOS, REFERENCES, SOURCES, Case, with_strings


def main() -> None:
    found: dict[str, Any] = {"transformers": transformers.__version__}
    for name, source in SOURCES.items():
        found[name] = {
            title: {
                "parts": _rendered(source, case, case.messages),
                "texts": _rendered(source, case, with_strings(case.messages)),
            }
            for title, case in CASES.items()
        }
        for forms in found[name].values():
            if forms["texts"] == forms["parts"]:
                del forms["texts"]
    REFERENCES.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _rendered(source: str, case: Case, messages: list[dict[str, Any]]) -> str | dict[str, str]:
    try:
        [text], _ = render_jinja_template(
            conversations=[messages],
            tools=case.tools,
            chat_template=source,
            continue_final_message=case.is_prefilled,
            add_generation_prompt=not case.is_prefilled,
            bos_token=BOS,
            eos_token=EOS,
            **(case.told or {}),
        )
    except Exception as error:  # noqa: BLE001 - whatever a template does wrong
        return {"refused": f"{type(error).__name__}: {error}"[:200]}
    return text.replace(date.today().isoformat(), "(today)").replace(date.today().strftime("%d %b %Y"), "(today)")


if __name__ == "__main__":
    main()
