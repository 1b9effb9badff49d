"""Signing in and out, the language, and the list of companies."""

from __future__ import annotations

from console.api.doors import COOKIE, LockedError
from console.service.people import role_of
from console.web.layout import Fields, notice, table
from console.web.markup import h, url
from console.web.visits import Answer, Page, Redirect, Visit
from console.web.words import LANGUAGES


async def home(visit: Visit) -> Answer:
    return Redirect(to="/companies" if visit.who is not None else "/login")


async def show_login(visit: Visit) -> Answer:
    return _login(visit, visit.query.get("back", ""))


async def log_in(visit: Visit) -> Answer:
    user, back = visit.form.get("user", "")[:200], visit.form.get("back", "")
    try:
        opened = await visit.doors.log_in(user, visit.form.get("password", "")[:1000], visit.client)
    except LockedError as error:
        return _login(visit, back, user, visit.words("login.locked", minutes=error.seconds // 60 + 1), 429)
    if opened is None:
        return _login(visit, back, user, visit.words("login.wrong"), 401)
    return Redirect(to=inside(back), cookies={COOKIE: opened[0]})


async def log_out(visit: Visit) -> Answer:
    visit.doors.log_out(visit.cookie)
    return Redirect(to="/login", cookies={COOKIE: ""})


async def choose_language(visit: Visit) -> Answer:
    chosen = visit.form.get("language", "")
    cookies = {"carillon-language": chosen} if chosen in LANGUAGES else {}
    return Redirect(to=inside(visit.form.get("back", "")), cookies=cookies)


async def companies(visit: Visit) -> Answer:
    words = visit.words
    assert visit.who is not None
    rows = []
    for company in sorted(visit.catalog.companies(), key=lambda one: (one.name.casefold(), one.id)):
        role = role_of(visit.who, company.id)
        if role is not None:
            name = h("a", company.name or company.id, href=url("c", company.id, "rules"))
            rows.append((name, words(f"role.{role}")))
    body = (
        table((words("company"), words("role")), rows, words("companies")) if rows else h("p", words("none"))
    )
    return Page(title=words("companies"), body=[body])


def inside(back: str) -> str:
    """Where to go on: a path of ours, whatever was asked for. Browsers read a backslash as a slash, and leave
    out control characters."""
    ours = back.startswith("/") and not back.startswith("//") and "\\" not in back and back.isprintable()
    return back if ours and back.isascii() else "/companies"


def _login(visit: Visit, back: str, user: str = "", wrong: str = "", status: int = 200) -> Page:
    fields = Fields(visit.words)
    password = h(
        "input",
        type="password",
        id="password",
        name="password",
        autocomplete="current-password",
        required=True,
    )
    form = h(
        "form",
        h("input", type="hidden", name="back", value=back[:2000]),
        fields.text("user", user, autocomplete="username", required=True),
        fields.wrapped("password", password),
        h("button", visit.words("log_in")),
        method="post",
        action="/login",
        class_="narrow",
    )
    body = [notice(wrong, wrong=True), form] if wrong else [form]
    return Page(title=visit.words("log_in"), body=body, status=status)
