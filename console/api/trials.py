"""Test messages, each to whoever asks for it."""

from __future__ import annotations

from console.api.calls import Call, Reply
from console.api.forms import TrialForm
from console.api.views import TrialView
from console.service.edits import entry
from console.service.errors import RefusedError
from console.service.trial import Trial, compose, own_address
from schemas.records import AuditField, AuditWhat, Mailbox, TemplateText
from streams.domain.ids import mask
from streams.domain.messages import Accepted
from streams.domain.problems import Problem
from streams.domain.reasons import Reason


async def send_test_message(call: Call) -> Reply:
    """Checked, counted, written down, sent; in this order."""
    form, desk = call.given(TrialForm), call.desk
    company = desk.catalog.company(call.company)
    assert company is not None  # the doors have looked
    trial = Trial(
        channel=form.channel,
        entity=form.entity,
        language=form.language,
        text=TemplateText(sms=form.text.sms, subject=form.text.subject, body=form.text.body),
        mailbox=_mailbox(call, form.mailbox_id),
    )
    message = compose(trial, company, call.user, desk.settings.email_domain, call.now)
    address = own_address(call.user, form.channel)
    sender = desk.trials.check(form.channel, address)
    name = desk.index.suppression_name(call.company, form.channel, address)
    if await desk.index.ask(lambda queries: queries.suppression(call.company, name)) is not None:
        raise RefusedError([Problem("channel", Reason.SUPPRESSED_ADDRESS.text, "access")])
    desk.trials.take(call.user.id)
    fields = (AuditField(field="channel", new=form.channel), AuditField(field="to", new=mask(address)))
    audited = entry(
        call.company, "test_message", message.delivery_id, AuditWhat.CREATE, 0, fields, call.author
    )
    await desk.note(audited)
    outcome = await sender.send(message)
    accepted = isinstance(outcome, Accepted)
    return Reply(
        value=TrialView(
            accepted=accepted,
            address=address,
            provider=outcome.provider,
            reason="" if isinstance(outcome, Accepted) else outcome.reason,
            detail=outcome.note if isinstance(outcome, Accepted) else outcome.detail,
        )
    )


def _mailbox(call: Call, id_: str) -> Mailbox | None:
    """As when a rule is given one."""
    if not id_:
        return None
    found = call.desk.catalog.mailbox(call.company, id_)
    if found is None or not found.connected or call.user.id not in found.users:
        raise RefusedError([Problem("mailbox_id", "is none that you have access to", "access")])
    return found
