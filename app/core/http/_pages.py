"""Pages from templates: a folder ``templates`` of a feature, the common layout around them, everything escaped."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.core.context import current_context
from app.core.errors import ConfigurationError
from app.core.http._assets import Script, scripts_for, styles_for
from app.core.http._bearer import is_by_program
from app.core.http._page_cookies import SESSION, csrf_token_of
from app.core.http._page_words import FILTERS
from app.core.http._security_headers import SCRIPTED_CSP

_HERE = Path(__file__).parent


class Pages:
    """The templates of one feature: ``Pages("app.builtin.policies").answer(request, "policies.html", routes=routes)``.

    Templates extend ``layout.html`` and may use the macros of ``components.html``. What they are given is escaped for HTML wherever it is
    put, and a name that was not given is an error. The Content Security Policy lets no style but the common ones work, and no script but
    those of ours that ``scripts`` of ``answer`` names: neither ``onclick`` nor a ``<script>`` in the page, ``<style>`` and ``style=`` do.
    Raises ConfigurationError for a package that is not there.
    """

    def __init__(self, package: str) -> None:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigurationError(f"There is no package {package}, so it has no templates")
        self._environment = _environment(Path(spec.origin).parent / "templates")

    def answer(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        csrf_token: str | None = None,
        scripts: Sequence[Script] = (),
        **values: Any,
    ) -> HTMLResponse:
        """The page. ``csrf_token`` stands in for that of the session's cookie, where there is no session; ``scripts`` are those that the
        page needs, and all that it can run.
        """
        if csrf_token is None:
            csrf_token = _session_token(request)
        shown = {"csrf_token": csrf_token, "caller": current_context().principal, **_files(scripts), **values}
        body = self._environment.get_template(template).render(shown)
        allowed = {"Content-Security-Policy": SCRIPTED_CSP} if scripts else {}
        return HTMLResponse(body, status_code=status, headers={**allowed, **(headers or {})})


def _files(scripts: Sequence[Script]) -> dict[str, list[str]]:
    return {"styles": styles_for(scripts), "scripts": scripts_for(scripts)}


def _session_token(request: Request) -> str:
    """For forms of the signed-in reader; empty for a program, whose cookie is nobody's business."""
    cookie = request.app.state.gatehouse.page_cookies.read(request.scope, SESSION)
    return csrf_token_of(cookie) if cookie is not None and not is_by_program(request.scope["headers"]) else ""


def error_page(problem: Mapping[str, Any]) -> bytes:
    """A problem document as a page. Members that policies add are for programs, and are left out."""
    shown = {name: problem.get(name) for name in ("title", "detail", "status", "request_id")}
    text = _own().get_template("error.html").render(problem=shown, errors=_errors(problem.get("errors")))
    return text.encode("utf-8", "replace")


def _errors(found: Any) -> list[str]:
    """What was wrong with a form, in words; the fields' names are ours or the caller's, and are escaped as all else."""
    items = [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
    places = [item["loc"][1:] if isinstance(item.get("loc"), list) else () for item in items]
    return [
        f"{' '.join(map(str, place))}: {item.get('msg')}" for place, item in zip(places, items, strict=True)
    ]


@cache
def _own() -> Environment:
    return _environment(_HERE / "templates")


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder), FileSystemLoader(_HERE / "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(_files(()), csrf_token="", caller=None)
    return environment
