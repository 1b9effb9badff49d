"""The scene of the providers: what comes back from customers and mail servers, an outage, and a company's own
mailbox. One day, Thursday 2 April, and the reminders of the day after."""

from __future__ import annotations

from console.demo.acts import (
    Act,
    GmailTakesAndHangsUp,
    OneClick,
    ReportBounce,
    RevokeMailbox,
    SmsDown,
    SmsUp,
    TextBack,
)
from console.demo.cast import LISBON, WARSAW, People, Person, at
from console.demo.narrator import moment
from console.demo.scenario import DAY, FIRST, MINUTE, SECOND, Entity, Owed, Script
from schemas.records import DeliveryState, EntityKind, Rule, StatusKind, Unit
from senders.breaker import FAILURES

SCENE = "providers"
_SENT, _SUPPRESSED = DeliveryState.SENT, DeliveryState.SUPPRESSED
_RETRYING, _UNKNOWN = DeliveryState.RETRYING, DeliveryState.UNKNOWN
_DELIVERED, _BOUNCED = DeliveryState.DELIVERED, DeliveryState.BOUNCED
_BLOCKED = "suppressed_address"
_SOON = 5 * MINUTE


def providers(script: Script, people: People) -> None:
    _stop(script, people)
    _one_click(script, people)
    _bounce(script, people)
    _outage(script, people)
    _mailbox(script, people)


def _stop(script: Script, people: People) -> None:
    person, entity = _order(script, people, "Gravel bike, full service", "09:10")
    shop = script.shop
    _expect(script, "a new order is confirmed", entity, shop.on_created(EntityKind.ORDER), _SENT, "09:10")
    # A receipt comes when it comes: it is on the checklist, and not in the story.
    script.expect(
        SCENE, "the provider reports that it arrived", entity, shop.on_created(EntityKind.ORDER), _DELIVERED,
        by=at(WARSAW, "2026-04-03 12:00"),
    )  # fmt: skip
    line = f'{person.name} answers "Stop, please!" to the shop\'s number: a signed request to the gateway'
    _act(script, "09:12", line, TextBack(person, "Stop, please!"))
    when = at(WARSAW, "2026-04-02 09:40")
    line = f"work on {entity.details.number} has begun"
    in_repair = shop.progress.status_id
    script.happens(when, SCENE, line, WARSAW, [entity.update(when, status_id=in_repair)])
    _expect(
        script,
        "STOP: the next text does not go",
        entity,
        shop.progress,
        _SUPPRESSED,
        "09:40",
        reason=_BLOCKED,
    )
    _act(script, "10:05", f'{person.name} answers "START"', TextBack(person, "START"))
    when = at(WARSAW, "2026-04-02 11:00")
    line = f"{entity.details.number} is ready"
    script.happens(when, SCENE, line, WARSAW, [entity.update(when, status_id=shop.ready.status_id)])
    _expect(script, "START: texts go again", entity, shop.ready, _SENT, "11:00")


def _one_click(script: Script, people: People) -> None:
    person, entity = _appointment(script, people, "Bike fitting", "09:20", "2026-04-04 11:00")
    line = f'{person.name} clicks "unsubscribe" in the mail program (RFC 8058)'
    _act(script, "09:25", line, OneClick(person))
    _no_more_mails(script, "unsubscribed", entity, at(WARSAW, "2026-04-04 11:00"))


def _bounce(script: Script, people: People) -> None:
    person, entity = _appointment(script, people, "E-bike check", "09:30", "2026-04-04 12:00")
    line = (
        f"the mail server of {person.name} returns the e-mail: 5.1.1, no such user; it reaches the mail pipe"
    )
    _act(script, "09:32", line, ReportBounce(person))
    booked = script.shop.on_created(EntityKind.APPOINTMENT)
    _expect(script, "the log has it as bounced", entity, booked, _BOUNCED, "09:32")
    _no_more_mails(script, "bounced", entity, at(WARSAW, "2026-04-04 12:00"))


def _outage(script: Script, people: People) -> None:
    """As many texts at once as open the breaker: then the second account has the word."""
    created = script.shop.on_created(EntityKind.ORDER)
    _act(script, "12:00", "the SMS provider is gone: connections are refused", SmsDown())
    _, entity = _order(script, people, "Inner tube", "12:01")
    when, others = at(WARSAW, "2026-04-02 12:01"), []
    for _ in range(FAILURES - 1):
        _, other = _new_order(script, people, "Inner tube")
        others.append(other.create(when))
        script.owed.append(Owed(EntityKind.ORDER, other.id, created.id, when + _SOON))
    script.happens(when, SCENE, f"and so do {len(others)} others", WARSAW, others)
    _expect(script, "an outage: the text is not taken", entity, created, _RETRYING, "12:01")
    _expect(script, "the second SMS provider steps in", entity, created, _SENT, "12:01", provider=SECOND)
    _act(script, "12:20", "the SMS provider is there again", SmsUp())
    _, entity = _order(script, people, "Inner tube", "12:30")
    _expect(
        script,
        "the first one has the word again when it is back",
        entity,
        created,
        _SENT,
        "12:30",
        provider=FIRST,
    )


def _mailbox(script: Script, people: People) -> None:
    """Leads are greeted from the mailbox that the rule names."""
    shop = script.shop
    rule, mine = shop.greeting, shop.mailbox.address
    delay = rule.delay * {Unit.MINUTES: MINUTE, Unit.HOURS: 60 * MINUTE, Unit.DAYS: DAY}[rule.delay_unit]

    entity = _lead(script, people, "13:00")
    by = at(LISBON, "2026-04-02 13:00") + delay + MINUTE
    _sent_from(script, f"a lead is greeted from {mine}, by Gmail", entity, rule, by, mine)

    _act(
        script,
        "13:19",
        "Gmail takes the next e-mail, and the line is cut before it says so",
        GmailTakesAndHangsUp(),
    )
    entity = _lead(script, people, "13:20")
    by = at(LISBON, "2026-04-02 13:20") + delay + _SOON
    script.expect(SCENE, "nobody knows whether Gmail took it", entity, rule, _UNKNOWN, by=by)
    _sent_from(script, "Gmail is asked by Message-ID, and has it: not sent again", entity, rule, by, mine)

    _act(script, "13:40", f"the owner of {mine} takes the access back", RevokeMailbox())
    entity = _lead(script, people, "13:41")
    by = at(LISBON, "2026-04-02 13:41") + delay + MINUTE
    own = shop.company.email_sender_address
    _sent_from(script, f"without access it leaves from {own}, and the log says so", entity, rule, by, own)


# --- the parts that they have in common


def _order(script: Script, people: People, title: str, local: str) -> tuple[Person, Entity]:
    person, entity = _new_order(script, people, title)
    when = at(WARSAW, f"2026-04-02 {local}")
    line = f"{person.name} brings in a bicycle: order {entity.details.number} is created"
    script.happens(when, SCENE, line, WARSAW, [entity.create(when)])
    return person, entity


def _new_order(script: Script, people: People, title: str) -> tuple[Person, Entity]:
    person = people.meet(WARSAW)
    script.cast.append(person)
    new = script.shop.statuses(EntityKind.ORDER, StatusKind.OPEN)[0]
    return person, script.entity(EntityKind.ORDER, person, title, status_id=new.id, amount_minor=4_200)


def _appointment(script: Script, people: People, title: str, local: str, slot: str) -> tuple[Person, Entity]:
    """Booked at ``local`` for ``slot``; confirmed by e-mail."""
    person = people.meet(WARSAW)
    script.cast.append(person)
    status = script.shop.statuses(EntityKind.APPOINTMENT, StatusKind.OPEN)[0]
    entity = script.entity(
        EntityKind.APPOINTMENT, person, title, status_id=status.id, scheduled_at=at(WARSAW, slot)
    )
    when = at(WARSAW, f"2026-04-02 {local}")
    line = f"{person.name} books an appointment ({title}) for {moment(at(WARSAW, slot), WARSAW)}"
    script.happens(when, SCENE, line, WARSAW, [entity.create(when)])
    rule = script.shop.on_created(EntityKind.APPOINTMENT)
    _expect(script, f"{title}: confirmed by e-mail", entity, rule, _SENT, local)
    return person, entity


def _no_more_mails(script: Script, why: str, entity: Entity, slot: int) -> None:
    shop = script.shop
    script.expect(
        SCENE, f"{why}: the reminder by e-mail does not go", entity, shop.email_reminder, _SUPPRESSED,
        by=slot - DAY, reason=_BLOCKED,
    )  # fmt: skip
    script.expect(SCENE, f"{why}: the one by SMS does", entity, shop.reminder, _SENT, by=slot - DAY + MINUTE)


def _lead(script: Script, people: People, local: str) -> Entity:
    person = people.meet(LISBON)
    script.cast.append(person)
    status = script.shop.statuses(EntityKind.LEAD, StatusKind.OPEN)[0]
    entity = script.entity(EntityKind.LEAD, person, "Asks for a cargo bike", status_id=status.id)
    when = at(LISBON, f"2026-04-02 {local}")
    line = f"{person.name} asks for a cargo bike: a lead"
    script.happens(when, SCENE, line, LISBON, [entity.create(when)])
    return entity


def _sent_from(script: Script, text: str, entity: Entity, rule: Rule, by: int, sender: str) -> None:
    script.expect(SCENE, text, entity, rule, _SENT, by=by, sender=sender)


def _expect(
    script: Script,
    text: str,
    entity: Entity,
    rule: Rule,
    state: DeliveryState,
    local: str,
    *,
    reason: str = "",
    provider: str = "",
) -> None:
    by = at(WARSAW, f"2026-04-02 {local}") + _SOON
    script.expect(SCENE, text, entity, rule, state, by=by, reason=reason, provider=provider)


def _act(script: Script, local: str, line: str, *acts: Act) -> None:
    zone = LISBON if local >= "13:00" else WARSAW
    script.happens(at(zone, f"2026-04-02 {local}"), SCENE, line, zone, (), acts=acts)
