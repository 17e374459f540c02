"""``/ui``: the list of pages, signing in and out, and the files that pages load."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, Form, Query, Request
from starlette.responses import Response

from app.builtin.accounts.router.device_cookie import keep_device, known_device
from app.builtin.accounts.router.tokens import SIGN_IN
from app.builtin.accounts.service import SessionDesk
from app.builtin.pages.schemas import CodeForm, LoginForm, LoginQuery, LogoutForm
from app.builtin.pages.service import Entrance, device_of, links_for, mfa_token_of
from app.core import CurrentPrincipal, JobConfig, Security, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db
from app.core.errors import EntityNotFoundError, GatehouseError, NotFound
from app.core.http import (
    LOGIN_FORM,
    SESSION,
    CurrentPlatform,
    PageCookies,
    PageRouter,
    Pages,
    csrf_token_of,
    find_asset,
    next_page,
)

router = PageRouter(prefix="/ui")
pages = Pages("app.builtin.pages")

SIGNED_IN = JobConfig()
LEAVING = JobConfig(security=Security(api_keys=False))  # a key must not sign its owner out
OPEN = JobConfig.public()


Session = Annotated[AsyncSession, Depends(get_db)]
Door = Annotated[Entrance, Depends(provided(Entrance))]
Desk = Annotated[SessionDesk, Depends(provided(SessionDesk))]


@router.get("", dependencies=[enforce_all_policies("ui_index", SIGNED_IN)])
@api_worker(SIGNED_IN)
async def index(request: Request, platform: CurrentPlatform, caller: CurrentPrincipal) -> Response:
    """The pages that the caller may open."""
    return pages.answer(request, "index.html", links=links_for(caller, platform.routes))


@router.get("/assets/{name}", dependencies=[enforce_all_policies("ui_assets", OPEN)])
@api_worker(OPEN)
async def asset(name: str) -> Response:
    """A style or a script, kept by browsers for ever: its name changes with what is in it."""
    asset = find_asset(name)
    if asset is None:
        raise NotFound("There is no such file.")
    forever = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(asset.content, media_type=asset.media_type, headers=forever)


@router.get("/login", dependencies=[enforce_all_policies("ui_login_form", OPEN)])
@api_worker(OPEN)
async def login_form(
    query: Annotated[LoginQuery, Query()], request: Request, platform: CurrentPlatform, door: Door
) -> Response:
    """The form; for somebody who is signed in already, the way on, unless a page wants him to prove once more who he is."""
    wanted = next_page(query.next)
    held = platform.page_cookies.read(request.scope, SESSION)
    if not query.again and held is not None and await door.holder_of(held) is not None:
        return pages.answer(request, "signed_in.html", next=wanted)
    return _form(request, platform.page_cookies, "login.html", next=wanted, message=None)


@router.post("/login", dependencies=[enforce_all_policies("ui_login", SIGN_IN)])
@api_worker(SIGN_IN)
async def log_in(
    form: Annotated[LoginForm, Form()], request: Request, platform: CurrentPlatform, door: Door, db: Session
) -> Response:
    """The first step, and for most the only one."""
    cookies, wanted = platform.page_cookies, next_page(form.next)
    token, old, known = cookies.new(), cookies.read(request.scope, SESSION), known_device(request)
    try:
        device = await door.with_password(
            db, form.username, form.password.get_secret_value(), token=token, old=old, device=known
        )
    except GatehouseError as refusal:
        await _undo(db, refusal)
        if (mfa_token := mfa_token_of(refusal)) is None:
            return _form(request, cookies, "login.html", refusal, next=wanted)
        answer = _form(request, cookies, "code.html", next=wanted, message=None, mfa_token=mfa_token)
        device = device_of(refusal)
    else:
        answer = _entered(request, cookies, token, wanted)
    keep_device(request, answer, device, life_s=door.device_life_s)
    return answer


@router.post("/login/mfa", dependencies=[enforce_all_policies("ui_login_mfa", SIGN_IN)])
@api_worker(SIGN_IN)
async def log_in_with_code(
    form: Annotated[CodeForm, Form()], request: Request, platform: CurrentPlatform, door: Door, db: Session
) -> Response:
    """The second step."""
    cookies, wanted = platform.page_cookies, next_page(form.next)
    token, old = cookies.new(), cookies.read(request.scope, SESSION)
    mfa_token = form.mfa_token.get_secret_value()
    try:
        await door.with_code(db, mfa_token, form.code.get_secret_value(), token=token, old=old)
    except GatehouseError as refusal:
        await _undo(db, refusal)
        return _form(request, cookies, "code.html", refusal, next=wanted, mfa_token=mfa_token)
    return _entered(request, cookies, token, wanted)


@router.post("/logout", dependencies=[enforce_all_policies("ui_logout", LEAVING)])
@api_worker(LEAVING)
async def log_out(
    *,
    form: Annotated[LogoutForm, Form()],
    request: Request,
    platform: CurrentPlatform,
    desk: Desk,
    db: Session,
    caller: CurrentPrincipal,
) -> Response:
    """End the session, or all of them, and let the browser forget what it kept of us."""
    with suppress(EntityNotFoundError):  # somebody was quicker
        await desk.log_out(db, caller, everywhere=form.everywhere)
    # Without "cookies": that would take those of all services of the same domain.
    headers = {"Location": "/ui/login", "Clear-Site-Data": '"cache", "storage"'}
    response = Response(status_code=303, headers=headers)
    response.headers.append("Set-Cookie", platform.page_cookies.clear(request.scope, SESSION))
    return response


async def _undo(db: AsyncSession, refusal: GatehouseError) -> None:
    """Nothing of a sign-in that was refused stays; what is no refusal is answered by the page of errors."""
    await db.rollback()
    if refusal.status >= 500 or isinstance(refusal, NotFound):
        raise refusal


def _form(
    request: Request,
    cookies: PageCookies,
    template: str,
    refusal: GatehouseError | None = None,
    **values: Any,
) -> Response:
    """A form of the sign-in, bound to this browser by a cookie; the one that it has already, so that a form in another tab still works."""
    token = cookies.read(request.scope, LOGIN_FORM) or cookies.new()
    status, headers = (refusal.status, refusal.headers) if refusal is not None else (200, {})
    if refusal is not None:
        values["message"] = refusal.detail or refusal.title
    response = pages.answer(
        request, template, status=status, headers=headers, csrf_token=csrf_token_of(token), **values
    )
    response.headers.append("Set-Cookie", cookies.issue(request.scope, LOGIN_FORM, token))
    return response


def _entered(request: Request, cookies: PageCookies, token: str, wanted: str) -> Response:
    response = Response(status_code=303, headers={"Location": wanted})
    response.headers.append("Set-Cookie", cookies.issue(request.scope, SESSION, token))
    response.headers.append("Set-Cookie", cookies.clear(request.scope, LOGIN_FORM))
    return response
