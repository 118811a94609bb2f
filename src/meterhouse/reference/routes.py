"""`/`, a readable API reference for each dialect, and the OpenAPI documents that they are made of."""

from html import escape

from fastapi import APIRouter, Request
from starlette.responses import Response

from meterhouse.errors import NotFoundError
from meterhouse.reference.documents import Asset, Library

router = APIRouter(include_in_schema=False)

# Redoc writes styles into the page, and searches in a worker that it makes of a blob. Nothing comes from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 4rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.75rem; margin-bottom: 0.25rem; }
li { margin: 0.75rem 0; }
a { color: #0b63ce; }
@media (prefers-color-scheme: dark) { a { color: #7db4ff; } }
code { font-size: 0.9em; }
"""

_INDEX = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Meterhouse</title><style>{style}</style></head>
<body>
<h1>Meterhouse</h1>
<p>A usage-metering server: what was acknowledged is counted, exactly once, in exact decimals.</p>
<h2>API reference</h2>
<ul>
{references}
</ul>
<h2>This installation</h2>
<ul>
<li><a href="readyz">readyz</a>, <a href="livez">livez</a>, <a href="metrics">metrics</a></li>
<li><a href=".well-known/openid-configuration">Where tokens and their keys are</a></li>
</ul>
</body>
</html>
"""

_ENTRY = '<li><a href="reference/{name}">{title}</a> (<a href="openapi/{name}.json">openapi/{name}.json</a>)</li>'

_REFERENCE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>body {{ margin: 0; }}</style></head>
<body>
<noscript>This page needs JavaScript; <a href="../openapi/{name}.json">the document</a> can be read without.</noscript>
<redoc spec-url="../openapi/{name}.json" theme="{theme}" hide-loading expand-responses="200,201,202"
  json-sample-expand-level="3" sort-required-props-first></redoc>
<script src="redoc.js"></script>
</body>
</html>
"""
_THEME = (
    '{"typography": {"fontFamily": "system-ui, sans-serif", "headings": {"fontFamily": "system-ui, sans-serif"},'
    ' "code": {"fontFamily": "ui-monospace, monospace"}}, "sidebar": {"width": "300px"}}'
)


@router.get("/")
async def index(request: Request) -> Response:
    library: Library = request.app.state.library
    references = "\n".join(_ENTRY.format(name=name, title=escape(title)) for name, title in library.titles.items())
    return _page(_INDEX.format(style=_STYLE, references=references))


@router.get("/reference/redoc.js")
async def reference_bundle(request: Request) -> Response:
    return _unless_known(request, request.app.state.library.bundle)


@router.get("/reference/{name}")
async def reference(request: Request, name: str) -> Response:
    library: Library = request.app.state.library
    if name not in library.titles:
        raise NotFoundError(f"there is no reference called {name}: {', '.join(library.titles)}")
    return _page(_REFERENCE.format(name=name, title=escape(library.titles[name]), theme=escape(_THEME)))


@router.get("/openapi/{name}.json")
async def openapi_document(request: Request, name: str) -> Response:
    library: Library = request.app.state.library
    if name not in library.documents:
        raise NotFoundError(f"there is no document called {name}: {', '.join(library.documents)}")
    return _unless_known(request, library.documents[name])


def _page(html: str) -> Response:
    return Response(html, headers=_PAGE_HEADERS, media_type="text/html")


def _unless_known(request: Request, asset: Asset) -> Response:
    """304 for who has it already."""
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers | {"Content-Type": asset.media_type})
