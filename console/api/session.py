"""Signing in and out, and who one is."""

from __future__ import annotations

from console.api.calls import Call, Reply
from console.api.doors import LockedError, Session
from console.api.forms import LoginForm
from console.api.problems import ApiError
from console.api.views import SessionView
from schemas.records import User


async def log_in(call: Call) -> Reply:
    form = call.given(LoginForm)
    try:
        opened = await call.doors.log_in(form.user, form.password, call.client)
    except LockedError as error:
        raise ApiError(429, str(error), headers={"Retry-After": str(error.seconds)}) from None
    if opened is None:
        raise ApiError(401, "The user or the password is wrong.")
    cookie, session = opened
    user = call.desk.people.user(session.user)
    if user is None:  # removed in this very moment
        raise ApiError(401, "The user or the password is wrong.")
    return Reply(value=_view(user, session), cookie=cookie)


async def who_am_i(call: Call) -> Reply:
    return Reply(value=_view(call.user, call.session))


async def log_out(call: Call) -> Reply:
    call.doors.log_out(call.cookie)
    return Reply(status=204, cookie="")


def _view(user: User, session: Session | None) -> SessionView:
    token = session.csrf if session is not None else ""
    return SessionView(user=user.id, name=user.name, roles=user.roles, csrf_token=token)
