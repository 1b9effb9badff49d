"""A test message to oneself, sent from a form without leaving it."""

from __future__ import annotations

from collections.abc import Iterable

from console.api.forms import TrialForm
from console.api.trials import send_test_message
from console.api.views import TrialView
from console.service.errors import RefusedError, TooManyError
from console.web.layout import notice, saying
from console.web.markup import Html, h, joined
from console.web.reading import read
from console.web.visits import Visit
from console.web.words import LANGUAGES
from schemas.records import Channel, TemplateText

_TRY, _LANGUAGE = "try", "try_language"


def wanted(visit: Visit) -> bool:
    return _TRY in visit.form


def row(visit: Visit, languages: Iterable[str]) -> Html:
    """For the form of a template: which of its texts, and how. Behind the button that saves: Enter presses
    the first one of a form."""
    words = visit.words
    options = [h("option", LANGUAGES.get(tag, tag), value=tag) for tag in languages]
    buttons = [
        h("button", words(f"channel.{one}"), name=_TRY, value=one.value, class_="quiet") for one in Channel
    ]
    return h(
        "fieldset",
        h("legend", words("trial.send")),
        h("p", words("trial.hint")),
        h("label", words("language"), for_=_LANGUAGE),
        h("select", options, id=_LANGUAGE, name=_LANGUAGE),
        joined([joined(" ", one) for one in buttons]),
        class_="row",
    )


def button(visit: Visit) -> Html:
    """For the form of a rule, which says how it is sent."""
    return h("button", visit.words("trial.send"), name=_TRY, value="yes", class_="quiet")


async def of_template(visit: Visit, texts: dict[str, TemplateText]) -> Html:
    """What came of it. ``texts``: of the form, saved or not."""
    language = visit.form.get(_LANGUAGE, "")
    return await sent(visit, texts, language, {"channel": visit.form.get(_TRY, "")})


async def sent(visit: Visit, texts: dict[str, TemplateText], language: str, how: dict[str, str]) -> Html:
    """``how``: channel, entity and mailbox_id, as the API has them."""
    words = visit.words
    chosen = language if language in texts else next(iter(texts), "")
    text = texts.get(chosen, TemplateText())
    fields = {"sms": text.sms, "subject": text.subject, "body": text.body}
    try:
        form = read(TrialForm, {**how, "language": chosen, "text": fields})
        view = (await send_test_message(visit.call(body=form))).value
    except RefusedError as error:
        return notice([saying(one, words) for one in error.problems], wrong=True)
    except TooManyError:
        return notice(words("status.429"), wrong=True)
    assert isinstance(view, TrialView)
    if view.accepted:
        return notice(f"{words('trial.sent', address=view.address)} {view.detail}".rstrip())
    reason = f"reason.{view.reason}"
    why = words(reason) if words.has(reason) else view.reason
    return notice(joined(words("trial.failed"), " ", why, " ", h("span", view.detail, lang="en")), wrong=True)
