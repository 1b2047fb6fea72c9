"""``/docs``: the OpenAPI document as a page, without scripts and without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem}h2 code{font-size:1.15rem}code,pre{font:14px/1.45 ui-monospace,monospace}
pre{overflow:auto;padding:.8rem;border:1px solid #8888}
table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}
:root{color-scheme:light dark}"""
_EXAMPLE = """curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d @- <<END
{{"messages": [{{"role": "user", "content": [
  {{"type": "image_url", "image_url": {{"url": "data:image/png;base64,$(base64 -w0 photo.png)"}}}},
  {{"type": "text", "text": "What is this?"}}
]}}]}}
END"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def docs_page(document: dict[str, Any], url: str) -> HTMLResponse:
    """The page.

    Args:
        document: OpenAPI, version 3.1.
        url: where the server is, for the example.
    """
    schemas = document.get("components", {}).get("schemas", {})
    body = "".join(_operations(document["paths"], schemas))
    example = f"<pre>{escape(_EXAMPLE.format(url=url.rstrip('/')))}</pre>"
    info = document["info"]
    html = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])}: API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        f"The same for programs: <a href=openapi.json>openapi.json</a>.</p>{example}{body}</html>"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})


def _operations(paths: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield from _fields(operation, schemas)


def _fields(operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><th><code>{escape(name)}</code>{' (needed)' if name in needed else ''}</th>"
        f"<td>{escape(_type(field))}</td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    if rows:
        yield f"<table>{rows}</table>"


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return ", ".join(found for option in field["anyOf"] if (found := _type(option)) != "null")
    if "$ref" in field:
        return "object"
    kind = field.get("type", "")
    return f"list of {_type(field['items'])}" if kind == "array" and field.get("items") else str(kind)
