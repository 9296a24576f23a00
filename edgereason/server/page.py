"""The live page at `/`: what thinks now, and buttons to stop it. Two files, no build step."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response

_HERE: Final = Path(__file__).parent
_SAFE: Final = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


async def page(request: Request) -> Response:
    return FileResponse(_HERE / "page.html", headers=_SAFE)


async def script(request: Request) -> Response:
    return FileResponse(_HERE / "page.js", media_type="text/javascript", headers=_SAFE)
