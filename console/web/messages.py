"""What was sent, what was not and why, and what is to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from console.api import messages
from console.api.forms import CountQuery, DeliveryQuery, PendingQuery
from console.api.views import Paged
from console.feed import reason_text
from console.service.errors import RefusedError
from console.service.messages import By, CountView, MessageView, Part, StepView
from console.web.layout import notice, table
from console.web.markup import Html, h, joined, url
from console.web.reading import read
from console.web.visits import Answer, Page, Redirect, Visit
from console.web.words import Words
from schemas.records import DeliveryState, EntityKind

_PAGE = "50"


async def find_feed(visit: Visit) -> Answer:
    """Which entity's; then on to it."""
    kind, id_ = visit.query.get("kind", ""), visit.query.get("id", "").strip()
    if kind in set(EntityKind) and id_:
        return Redirect(to=url("c", visit.shop.id, "feed", kind, id_))
    return Page(title=visit.words("menu.feed"), body=[_finder(visit, "", "")], at="feed")


async def show_feed(visit: Visit) -> Answer:
    words, kind, id_ = visit.words, visit.path["kind"], visit.path["id"]
    reply = await messages.get_feed(visit.call(path={"kind": kind, "id": id_}))
    assert isinstance(reply.value, Paged)
    body = [_finder(visit, kind, id_)]
    for part in Part:
        those = [one for one in reply.value.items if one.part is part]
        heading = f"part-{part.name.lower()}"
        entries = (
            h("ol", [_told(visit, one) for one in those], class_="feed") if those else h("p", words("none"))
        )
        body.append(
            h("section", h("h2", words(f"part.{part}"), id=heading), entries, aria_labelledby=heading)
        )
    return Page(title=f"{words(f'entity.{kind}')} {id_}", body=body, at="feed")


def _finder(visit: Visit, kind: str, id_: str) -> Html:
    words = visit.words
    options = [h("option", words(f"entity.{one}"), value=one, selected=one == kind) for one in EntityKind]
    return h(
        "form",
        h("label", words("head.kind"), for_="kind"),
        h("select", options, id="kind", name="kind"),
        h("label", words("number"), for_="id"),
        h("input", type="text", id="id", name="id", value=id_, required=True, maxlength=200),
        h("button", words("show")),
        method="get",
        action=url("c", visit.shop.id, "feed"),
        class_="row",
        role="search",
    )


def _told(visit: Visit, one: MessageView) -> Html:
    """One message: what, when, why not, and what would have to change."""
    words = visit.words
    what = [h("strong", one.rule_name), " · ", words(f"channel.{one.channel}")]
    what += [" · ", one.address] if one.address else []
    return h(
        "li",
        h("p", what),
        h(
            "p",
            h("span", words(f"state.{one.state}"), class_=f"state {one.part.name.lower()}"),
            " ",
            _at_moment(words, one),
        ),
        _why(words, one.reason, one.note),
        _steps(visit, one.steps, one.zone),
        h("p", h("a", words("details"), href=url("c", one.company, "deliveries", one.delivery_id))),
    )


def _at_moment(words: Words, one: MessageView) -> Html:
    return joined(
        h("time", words.moment(one.moment, one.zone), datetime=one.local), " ", h("small", one.zone)
    )


def _why(words: Words, reason: str, note: str) -> Html | None:
    """The reason, and what would have to change."""
    if not reason and not note:
        return None
    advice = words(f"advice.{reason}") if words.has(f"advice.{reason}") else None
    return h("p", reason_in_words(words, reason), " ", advice, h("small", " ", note) if note else None)


def reason_in_words(words: Words, reason: str) -> str:
    """A code that the page has no words for in English."""
    key = f"reason.{reason}"
    return words(key) if words.has(key) else reason_text(reason)


def _steps(visit: Visit, steps: Sequence[StepView], zone: str) -> Html | None:
    if not steps:
        return None
    words = visit.words
    entries = [
        h(
            "li",
            h("time", words.moment(one.at, zone)),
            ": ",
            words(f"state.{one.state}"),
            f": {reason_in_words(words, one.reason)}" if one.reason else None,
            joined(" → ", words.moment(one.next_at, zone)) if one.next_at is not None else None,
        )
        for one in steps
    ]
    return h("details", h("summary", words("history")), h("ol", entries))


# --- pending


async def show_pending(visit: Visit) -> Answer:
    words, company = visit.words, visit.shop.id
    by = By(visit.query["by"]) if visit.query.get("by") in set(By) else By.DAY
    given = {name: visit.query[name] for name in ("day", "rule_id", "cursor") if visit.query.get(name)}
    if "location_id" in visit.query:
        given["location_id"] = visit.query["location_id"]
    wrong = None
    try:
        query = read(PendingQuery, given | {"limit": _PAGE})
        listed = await messages.list_pending(visit.call(query=query))
    except RefusedError as error:
        wrong = notice(f"{words('error.invalid')} {error}", wrong=True)
        query = read(PendingQuery, {"limit": _PAGE})
        listed = await messages.list_pending(visit.call(query=query))
    counted = await messages.count_pending(visit.call(query=CountQuery(by=by)))
    assert isinstance(counted.value, Paged)
    assert isinstance(listed.value, Paged)
    tabs = [
        h(
            "li",
            h(
                "a",
                words(f"by.{one}"),
                href=url("c", company, "pending", by=one),
                aria_current="page" if one is by else None,
            ),
        )
        for one in By
    ]
    body = [
        wrong,
        h("nav", h("ul", tabs, class_="tabs"), aria_label=words("by")),
        _counts(visit, by, counted.value.items),
        h("h2", words("messages")),
        _filters(visit, query),
        _messages(visit, listed.value.items),
    ]
    if listed.value.next is not None:
        more = url("c", company, "pending", **(given | {"by": by, "cursor": listed.value.next}))
        body.append(h("p", h("a", words("more"), href=more)))
    return Page(title=words("menu.pending"), body=[one for one in body if one is not None], at="pending")


def _counts(visit: Visit, by: By, counts: Sequence[CountView]) -> Html:
    """A bar beside each number: its length is the number once more, for the eye."""
    words = visit.words
    if not counts:
        return h("p", words("none"))
    names = {By.DAY: "day", By.LOCATION: "location_id", By.RULE: "rule_id"}
    most = max(one.count for one in counts)
    rows = []
    for one in counts:
        name = words.day(date.fromisoformat(one.key)) if by is By.DAY else one.name or words("no_location")
        link = url("c", visit.shop.id, "pending", **{"by": by, names[by]: one.key}) if one.key else None
        bar = h("meter", value=one.count, max=most, aria_hidden="true")
        rows.append((h("a", name, href=link) if link else name, joined(str(one.count), " ", bar)))
    return table((words(f"by.{by}"), words("head.count")), rows, words(f"by.{by}"))


def _filters(visit: Visit, query: PendingQuery) -> Html | None:
    catalog, company, words = visit.catalog, visit.shop.id, visit.words
    said = []
    if query.day is not None:
        said.append(words.day(query.day))
    if query.location_id is not None:
        place = catalog.location(company, query.location_id)
        said.append(place.name if place is not None else query.location_id)
    if query.rule_id:
        rule = catalog.rule(company, query.rule_id)
        said.append(rule.name or rule.id if rule is not None else query.rule_id)
    if not said:
        return None
    return h("p", ", ".join(said), " · ", h("a", words("show_all"), href=url("c", company, "pending")))


def _messages(visit: Visit, found: Sequence[MessageView]) -> Html:
    words, company = visit.words, visit.shop.id
    if not found:
        return h("p", words("none"))
    rows = []
    for one in found:
        about = f"{words(f'entity.{one.kind}')} {one.entity_id}"
        place = visit.catalog.location(company, one.location_id)
        rows.append(
            (
                h("a", about, href=url("c", company, "feed", one.kind, one.entity_id)),
                _at_moment(words, one),
                joined(words(f"state.{one.state}"), h("small", reason_in_words(words, one.reason))),
                joined(one.rule_name, h("small", words(f"channel.{one.channel}"))),
                place.name if place is not None else one.location_id,
                one.customer_id,
                h("a", words("details"), href=url("c", company, "deliveries", one.delivery_id)),
            )
        )
    heads = ("about", "moment", "state", "rule", "location", "customer", "details")
    return table([words(f"head.{one}") for one in heads], rows, words("messages"))


# --- search


async def search(visit: Visit) -> Answer:
    """By the message's id, the customer, or the entity."""
    words, company = visit.words, visit.shop.id
    names = ("kind", "entity_id", "customer_id", "state", "cursor")
    given = {name: visit.query[name].strip() for name in names if visit.query.get(name, "").strip()}
    id_ = visit.query.get("id", "").strip()
    body = [_search_form(visit, given, id_)]
    if id_:
        found = await visit.desk.index.ask(lambda queries: queries.delivery(company, id_))
        link = url("c", company, "deliveries", id_)
        body.append(h("p", h("a", id_, href=link)) if found is not None else notice(words("none")))
        return Page(title=words("menu.deliveries"), body=body, at="deliveries")
    try:
        query = read(DeliveryQuery, given | {"limit": _PAGE})
        reply = await messages.list_deliveries(visit.call(query=query))
    except RefusedError as error:
        body.append(notice(f"{words('error.invalid')} {error}", wrong=True))
        return Page(title=words("menu.deliveries"), body=body, status=422, at="deliveries")
    assert isinstance(reply.value, Paged)
    body.append(_messages(visit, reply.value.items))
    if reply.value.next is not None:
        more = url("c", company, "deliveries", **(given | {"cursor": reply.value.next}))
        body.append(h("p", h("a", words("more"), href=more)))
    return Page(title=words("menu.deliveries"), body=body, at="deliveries")


def _search_form(visit: Visit, given: Mapping[str, str], id_: str) -> Html:
    words = visit.words
    kinds = {"": "-", **{one.value: words(f"entity.{one}") for one in EntityKind}}
    states = {"": "-", **{one.value: words(f"state.{one}") for one in DeliveryState}}
    inputs = [("id", id_, "head.id"), ("customer_id", given.get("customer_id", ""), "head.customer")]
    inputs.append(("entity_id", given.get("entity_id", ""), "number"))
    return h(
        "form",
        [
            joined(
                h("label", words(key), for_=name), h("input", type="text", id=name, name=name, value=value)
            )
            for name, value, key in inputs
        ],
        [
            joined(
                h("label", words(f"head.{name}"), for_=name),
                h(
                    "select",
                    [
                        h("option", label, value=value, selected=value == given.get(name, ""))
                        for value, label in those.items()
                    ],
                    id=name,
                    name=name,
                ),
            )
            for name, those in (("kind", kinds), ("state", states))
        ],
        h("button", words("search")),
        method="get",
        class_="row",
        role="search",
    )


async def show_delivery(visit: Visit) -> Answer:
    words = visit.words
    reply = await messages.get_delivery(visit.call(path={"id": visit.path["id"]}))
    one = reply.value
    assert isinstance(one, MessageView)
    about = f"{words(f'entity.{one.kind}')} {one.entity_id}"
    facts: list[tuple[str, Html | str]] = [
        ("about", h("a", about, href=url("c", one.company, "feed", one.kind, one.entity_id))),
        ("state", words(f"state.{one.state}")),
        ("moment", _at_moment(words, one)),
        ("rule", one.rule_name),
        ("channel", words(f"channel.{one.channel}")),
        ("address", one.address),
        ("customer", one.customer_id),
        ("location", one.location_id),
        ("attempt", str(one.attempt)),
        ("segments", "" if one.segments is None else str(one.segments)),
        ("price", f"{one.price} {one.currency}" if one.price else ""),
        ("id", one.delivery_id),
    ]
    rows = [joined(h("dt", words(f"head.{name}")), h("dd", value)) for name, value in facts if value]
    why = _why(words, one.reason, one.note)
    body = [h("dl", rows), why, _steps(visit, one.steps, one.zone)]
    return Page(title=words("message"), body=[each for each in body if each is not None], at="deliveries")
