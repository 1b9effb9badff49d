"""The company's mailboxes, and connecting one: its owner signs in at Google, and comes back here."""

from __future__ import annotations

from console.service.connecting import CALLBACK, connected, id_of, mailbox_of
from console.service.errors import NotThereError
from console.service.people import allowed
from console.web.layout import notice, table
from console.web.markup import Html, h, joined, url
from console.web.visits import Answer, Page, Visit
from schemas.records import Role
from senders.gmail_consent import ConsentError

FINISH = f"{CALLBACK}/finish"


async def show_mailboxes(visit: Visit) -> Answer:
    return _page(visit)


async def connect_mailbox(visit: Visit) -> Answer:
    """A link, no redirect: the policy of the page lets no form lead elsewhere."""
    words = visit.words
    if visit.session is None:
        raise NotThereError  # a bearer token has no browser to come back with
    try:
        there = visit.desk.connecting.begin(visit.shop.id, visit.session.csrf)
    except ConsentError as error:
        return _page(visit, notice(joined(words("mailbox.failed"), " ", _english(error)), wrong=True))
    link = h("a", words("mailbox.go"), href=there, class_="button", rel="noreferrer")
    body = [h("p", words("mailbox.hint")), h("p", link)]
    return Page(title=words("mailbox.connect"), body=body, at="rules")


async def come_back(visit: Visit) -> Answer:
    """From Google's page. Browsers send no SameSite=Strict cookie along with a step from another site, but
    with the next one, which begins here."""
    words = visit.words
    given = {name: visit.query.get(name, "")[:2000] for name in ("state", "code", "error")}
    on = url(*FINISH.strip("/").split("/"), **given)
    link = h("a", words("mailbox.finish"), href=on, class_="button")
    refresh = h("meta", http_equiv="refresh", content=f"0;url={on}")
    return Page(title=words("mailbox.connect"), body=[h("p", link)], head=refresh)


async def finish(visit: Visit) -> Answer:
    words, desk, query = visit.words, visit.desk, visit.query
    state = query.get("state", "")
    session = visit.session.csrf if visit.session is not None else ""
    assert visit.who is not None
    try:
        company = desk.connecting.company_of(state, session)
        allowed(visit.who, company, Role.EDITOR)
        consent = await desk.connecting.finish(state, session, query.get("code", ""), query.get("error", ""))
    except ConsentError as error:
        failed = notice(joined(words("mailbox.failed"), " ", _english(error)), wrong=True)
        return Page(title=words("mailbox.connect"), body=[failed], status=400)
    author = visit.call().author
    async with desk.lock(company):
        old = mailbox_of(desk.catalog, company, consent.address)
        id_ = old.id if old is not None else id_of(company, consent.address)
        reference = desk.connecting.keep(company, id_, consent)
        edit = connected(desk.catalog, company, consent.address, reference, author)
        await desk.write([] if edit is None else [edit])
    said = notice(words("mailbox.connected", address=consent.address))
    back = h("p", h("a", words("mailboxes"), href=url("c", company, "mailboxes")))
    return Page(title=words("mailbox.connect"), body=[said, h("p", words("mailbox.choose")), back])


def offer(visit: Visit) -> Html | None:
    """For the form of a rule: leads to where mailboxes are connected, in another tab, so that what was typed
    stays."""
    if not visit.desk.connecting.possible:
        return None
    there = url("c", visit.shop.id, "mailboxes")
    link = h("a", visit.words("mailbox.connect"), href=there, target="_blank", rel="noopener")
    return h("p", link, " ", h("small", visit.words("mailbox.tab")), data_when="channel=email")


def _page(visit: Visit, said: Html | None = None) -> Page:
    words = visit.words
    found = sorted(visit.catalog.mailboxes_of(visit.shop.id), key=lambda one: one.address)
    rows = [
        (one.address, words("on") if one.connected else words("off"), ", ".join(one.users)) for one in found
    ]
    heads = [words("head.address"), words("head.state"), words("head.users")]
    body = [said] if said is not None else []
    body.append(table(heads, rows, words("mailboxes")) if rows else h("p", words("none")))
    if not visit.desk.connecting.possible:
        body.append(h("p", words("mailbox.impossible")))
    elif visit.may(Role.EDITOR):
        button = h("button", words("mailbox.connect"))
        action = url("c", visit.shop.id, "mailboxes", "connect")
        body += [h("p", words("mailbox.hint")), h("form", visit.csrf(), button, method="post", action=action)]
    return Page(title=words("mailboxes"), body=body, at="rules", status=200 if said is None else 409)


def _english(error: ConsentError) -> Html:
    return h("span", str(error), lang="en")
