"""Addresses that are not written to, and who changed what."""

from __future__ import annotations

from console.api import messages
from console.api.forms import AuditQuery, SuppressionForm, SuppressionQuery
from console.api.views import Paged, SuppressionView
from console.service.errors import RefusedError
from console.web.layout import Fields, notice, table
from console.web.markup import Html, h, joined, url
from console.web.reading import read
from console.web.settings import said
from console.web.visits import Answer, Page, Redirect, Visit
from schemas.records import AuditEntry, AuditField, Channel, Role

_PAGE = "100"
_LONGEST = 200
"""Characters of a value that are shown: a template's texts are long."""


async def show_suppressions(visit: Visit) -> Answer:
    return await _suppressions(visit, Fields(visit.words))


async def add_suppression(visit: Visit) -> Answer:
    """Or says whether it is there, where that was asked."""
    words, form = visit.words, visit.form
    typed = {"channel": form.get("channel", ""), "address": form.get("address", "").strip()}
    try:
        body = read(SuppressionForm, typed)
        if "look" in form:
            reply = await messages.find_suppression(visit.call(body=body))
            assert isinstance(reply.value, Paged)
            key = "suppression.there" if reply.value.items else "suppression.not_there"
            return await _suppressions(visit, Fields(words), typed, notice(words(key)))
        await messages.add_suppression(visit.call(body=body))
    except RefusedError as error:
        return await _suppressions(visit, Fields(words, error.problems), typed, status=422)
    return Redirect(to=url("c", visit.shop.id, "settings", "suppressions", said="saved"))


async def lift_suppression(visit: Visit) -> Answer:
    await messages.lift_suppression(visit.call(path={"id": visit.path["id"]}))
    return Redirect(to=url("c", visit.shop.id, "settings", "suppressions", said="saved"))


async def _suppressions(
    visit: Visit,
    fields: Fields,
    typed: dict[str, str] | None = None,
    told: Html | None = None,
    *,
    status: int = 200,
) -> Page:
    words, company, admin = visit.words, visit.shop.id, visit.may(Role.ADMIN)
    asked = {name: visit.query[name] for name in ("channel", "cursor") if visit.query.get(name)}
    reply = await messages.list_suppressions(
        visit.call(query=read(SuppressionQuery, asked | {"limit": _PAGE}))
    )
    assert isinstance(reply.value, Paged)
    given = typed or {}
    channels = {one.value: words(f"channel.{one}") for one in Channel}
    form = h(
        "form",
        visit.csrf(),
        fields.choice("channel", channels, given.get("channel", "sms")),
        fields.text("address", given.get("address", ""), maxlength=254, autocomplete="off"),
        h("button", words("suppression.look"), name="look", value="yes", class_="quiet"),
        " ",
        h("button", words("suppression.add")),
        method="post",
        action=url("c", company, "settings", "suppressions"),
    )
    rows = [_suppression(visit, one, admin) for one in reply.value.items]
    heads = [words(f"head.{name}") for name in ("address", "channel", "why_blocked", "moment", "details")]
    body = [
        said(visit),
        told,
        fields.summary(),
        form if admin else None,
        table(heads, rows, words("settings.suppressions")) if rows else h("p", words("none")),
    ]
    if reply.value.next is not None:
        more = url("c", company, "settings", "suppressions", cursor=reply.value.next)
        body.append(h("p", h("a", words("more"), href=more)))
    return Page(
        title=words("settings.suppressions"),
        body=[one for one in body if one is not None],
        status=status,
        at="settings",
    )


def _suppression(visit: Visit, one: SuppressionView, admin: bool) -> tuple[Html | str, ...]:
    words = visit.words
    causes = [
        words(f"cause.{cause}") if words.has(f"cause.{cause}") else cause for cause in one.reason.split("+")
    ]
    action = url("c", visit.shop.id, "settings", "suppressions", one.id, "lift")
    button = h(
        "button",
        words("suppression.lift"),
        class_="quiet",
        aria_label=f"{words('suppression.lift')}: {one.address}",
    )
    lift = h("form", visit.csrf(), button, method="post", action=action) if admin else ""
    moment = words.moment(one.since, visit.shop.zone)
    return one.address, words(f"channel.{one.channel}"), ", ".join(causes), moment, lift


# --- audit


async def show_audit(visit: Visit) -> Answer:
    words, company = visit.words, visit.shop.id
    asked = {
        name: visit.query[name].strip() for name in ("user", "kind", "record_id") if visit.query.get(name)
    }
    given = asked | ({"cursor": visit.query["cursor"]} if visit.query.get("cursor") else {})
    reply = await messages.list_audit(visit.call(query=read(AuditQuery, given | {"limit": _PAGE})))
    assert isinstance(reply.value, Paged)
    rows = [_change(visit, one) for one in reply.value.items]
    heads = [words(f"head.{name}") for name in ("moment", "user", "what", "change")]
    body = [
        _finder(visit, asked),
        table(heads, rows, words("settings.audit")) if rows else h("p", words("none")),
    ]
    if reply.value.next is not None:
        more = url("c", company, "settings", "audit", **(asked | {"cursor": reply.value.next}))
        body.append(h("p", h("a", words("more"), href=more)))
    return Page(title=words("settings.audit"), body=body, at="settings")


def _finder(visit: Visit, asked: dict[str, str]) -> Html:
    words = visit.words
    kinds = ("rule", "template", "location", "status", "company", "mailbox", "suppression")
    options = {"": "-", **{one: words(f"record.{one}") for one in kinds}}
    chosen = asked.get("kind", "")
    return h(
        "form",
        h("label", words("head.user"), for_="user"),
        h("input", type="text", id="user", name="user", value=asked.get("user", ""), maxlength=200),
        h("label", words("head.kind"), for_="kind"),
        h(
            "select",
            [h("option", label, value=one, selected=one == chosen) for one, label in options.items()],
            id="kind",
            name="kind",
        ),
        h("label", words("head.record_id"), for_="record_id"),
        h("input", type="text", id="record_id", name="record_id", value=asked.get("record_id", "")),
        h("button", words("search")),
        method="get",
        class_="row",
        role="search",
    )


def _change(visit: Visit, one: AuditEntry) -> tuple[Html | str, ...]:
    words = visit.words
    kind = words(f"record.{one.kind}") if words.has(f"record.{one.kind}") else one.kind
    what = joined(words(f"audit.{one.what}"), ": ", kind, " ", h("strong", one.record_id))
    fields = h("ul", [h("li", _field(each)) for each in one.fields]) if one.fields else ""
    who = joined(one.user or "-", h("small", one.way))
    return words.moment(one.at, visit.shop.zone), who, what, fields


def _field(one: AuditField) -> Html:
    shown = [
        h(name, value if len(value) <= _LONGEST else value[:_LONGEST] + "…")
        for name, value in (("del", one.old), ("ins", one.new))
        if value is not None
    ]
    return joined(f"{one.field}: ", [joined(each, " ") for each in shown])
