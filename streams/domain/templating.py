"""Texts of messages: chosen by language, checked when saved, rendered at the moment of sending.

What staff may write is in ``docs/templates.md``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from liquid.exceptions import UndefinedError
from msgspec.structs import replace

from schemas.records import Channel, Company, Customer, EntityKind, Template, TemplateText
from streams.domain import markup, segments
from streams.domain.formats import Formats, locale_of
from streams.domain.languages import best_language
from streams.domain.problems import Problem
from streams.domain.reasons import Reason
from streams.domain.segments import Segments
from streams.domain.template_language import Compiled, compiled, fault_of
from streams.domain.template_sample import bare, sample
from streams.domain.template_values import TextContext

__all__ = [
    "EmailText",
    "TextContext",
    "check_template",
    "language_for",
    "render_email",
    "render_sms",
    "sample_segments",
]

LONGEST_SMS = 1600
"""Characters; Twilio takes no longer body (error 21617)."""

# Everything in Unicode's category Cc but the line feed.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_TAG_OF_DATA = re.compile(r"</?\s*\{\{")


@dataclass(frozen=True, slots=True)
class EmailText:
    """The parts of an e-mail: ``subject`` is one line, ``html`` a fragment for a body element."""

    subject: str
    text: str
    html: str


def language_for(
    customer: Customer, company: Company, template: Template, channel: Channel | None = None
) -> str:
    """The language of the text that the customer gets: theirs, its base or a variant of it; then the
    company's in the same way; then the template's first. With ``channel`` only languages that have a
    text for it are looked at. Empty when there is none."""
    exact = template.texts.get(customer.language)
    if exact is not None and _has(exact, channel):
        return customer.language
    languages = [name for name, text in template.texts.items() if _has(text, channel)]
    return best_language((customer.language, company.language), languages) if languages else ""


def _has(text: TemplateText, channel: Channel | None) -> bool:
    if channel is None:
        return True
    return bool(text.sms) if channel is Channel.SMS else bool(text.subject and text.body)


def render_sms(template: Template, ctx: TextContext) -> str | Reason:
    """The SMS, without control characters; in GSM-7 if typographic signs are all that prevents it and the
    company lets them be replaced.

    NO_TEXT: the template has no SMS text, or nothing but spaces came out. TEMPLATE_ERROR: the text has a
    fault, or names what this entity does not have, or is too long for a provider. Never raises.
    """
    language = language_for(ctx.customer, ctx.company, template, Channel.SMS)
    if not language:
        return Reason.NO_TEXT
    return _attempted(template.texts[language].sms, language, ctx)


def render_email(template: Template, ctx: TextContext) -> EmailText | Reason:
    """The e-mail's subject and both forms of its body; reasons as in ``render_sms``. Never raises.

    A body without tags is plain text: paragraphs and line ends are made into HTML. A body with tags is
    HTML: values are escaped, tags that are not allowed left out, and the plain text is taken from it.
    """
    language = language_for(ctx.customer, ctx.company, template, Channel.EMAIL)
    if not language:
        return Reason.NO_TEXT
    text = template.texts[language]
    try:
        return _email(text, language, ctx)
    except Exception:  # noqa: BLE001  # as above
        return Reason.TEMPLATE_ERROR


def _attempted(source: str, language: str, ctx: TextContext) -> str | Reason:
    try:
        return _sms(source, language, ctx)
    except Exception:  # noqa: BLE001  # whatever a template does must not stop the messages behind it
        return Reason.TEMPLATE_ERROR


def _sms(source: str, language: str, ctx: TextContext) -> str | Reason:
    text = _without_controls(_fill(compiled(source), language, ctx)).strip()
    if not text:
        return Reason.NO_TEXT
    if ctx.company.smart_encoding:
        text = segments.smart(text)
    return text if len(text) <= LONGEST_SMS else Reason.TEMPLATE_ERROR


def _email(text: TemplateText, language: str, ctx: TextContext) -> EmailText | Reason:
    subject = _subject(text.subject, language, ctx)
    plain, html = _body(text.body, language, ctx)
    return EmailText(subject, plain, html) if subject and plain else Reason.NO_TEXT


def _subject(source: str, language: str, ctx: TextContext) -> str:
    # A line end would end the header: spaces of every kind become one space, U+2028 too.
    return " ".join(_without_controls(_fill(compiled(source), language, ctx)).split())


def _body(source: str, language: str, ctx: TextContext) -> tuple[str, str]:
    if markup.is_html(source):
        html, plain = markup.clean(_without_controls(_fill(compiled(source, html=True), language, ctx)))
        return plain, html
    plain = markup.tidy(_without_controls(_fill(compiled(source), language, ctx)))
    return plain, markup.from_text(plain)


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))


def _fill(ready: Compiled, language: str, ctx: TextContext) -> str:
    return ready.render(ctx, Formats(language, ctx.zone, ctx.currency))


# --- checking, when a template is saved ------------------------------------------------------------


def check_template(
    template: Template, *, kinds: frozenset[EntityKind] | None, languages: Collection[str]
) -> list[Problem]:
    """What is wrong with a template, by field (``texts.en.sms``) and with line and column.

    ``kinds``: of which entities it speaks (those of the rules that use it); it has to work for all of
    them; None or empty: not known, it has to work for one. ``languages``: those that need a text (the
    company's own); a text in their base language or a variant will do. Never raises.
    """
    return list(_problems(template, kinds or None, languages))


def sample_segments(template: Template, language: str, company: Company | None = None) -> Segments:
    """What one SMS of the company costs, by sample data; the dearest where the template serves several
    kinds. No segments where there is no SMS text, or it does not work."""
    source = template.texts.get(language, TemplateText()).sms
    samples = [sample(kind) for kind in EntityKind]
    if company is not None:
        samples = [replace(each, company=company) for each in samples]
    results = [_attempted(source, language, each) for each in samples]
    counts = [segments.count("" if isinstance(result, Reason) else result) for result in results]
    return max(counts, key=lambda each: each.segments)


def _problems(
    template: Template, kinds: frozenset[EntityKind] | None, languages: Collection[str]
) -> Iterator[Problem]:
    bases = {_base(language) for language in template.texts}
    for language in sorted(languages):
        if _base(language) not in bases:
            yield Problem(f"texts.{language}", "there is no text in this language")
    texts = template.texts.values()
    sms, email = any(text.sms for text in texts), any(text.subject or text.body for text in texts)
    if not sms and not email:
        yield Problem("texts", "there is no text")
    for language, text in template.texts.items():
        at = f"texts.{language}"
        if locale_of(language) is None:
            yield Problem(at, "is not a language that is known (en, pt-BR)")
            continue
        if sms and not text.sms:
            yield Problem(f"{at}.sms", "is missing: the template has an SMS text in another language")
        if email and not text.subject:
            yield Problem(
                f"{at}.subject", "is missing: an e-mail needs a subject and a body in each language"
            )
        if email and not text.body:
            yield Problem(f"{at}.body", "is missing: an e-mail needs a subject and a body in each language")
        for part, source in (("sms", text.sms), ("subject", text.subject), ("body", text.body)):
            if source:
                yield from (Problem(f"{at}.{part}", what) for what in _faults(part, source, language, kinds))


def _base(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


def _faults(part: str, source: str, language: str, kinds: frozenset[EntityKind] | None) -> Iterator[str]:
    html = part == "body" and markup.is_html(source)
    ready = compiled(source, html=html)
    faults = list(ready.faults)
    if html:
        for index, tag in markup.forbidden(source)[:20]:
            faults.append(ready.fault_at(index, f"{tag[:40]} is not allowed in an e-mail"))
        for match in _TAG_OF_DATA.finditer(source):
            faults.append(ready.fault_at(match.start(), "a placeholder can't be the name of a tag"))
    for path, index in ready.paths:
        if kinds is not None and path[0] in set(EntityKind) - kinds:
            served = ", ".join(sorted(kinds))
            faults.append(ready.fault_at(index, f"'{path[0]}' is not known in a text for {served}"))
    yield from map(str, faults)
    if not faults:
        yield from _sample_faults(part, source, language, kinds)


def _sample_faults(
    part: str, source: str, language: str, kinds: frozenset[EntityKind] | None
) -> Iterator[str]:
    tried = {kind: _tried(part, source, language, sample(kind)) for kind in sorted(kinds or EntityKind)}
    wrong = {kind: what for kind, what in tried.items() if what}
    if kinds is None and len(wrong) < len(tried):
        # It is for some of the kinds: what the others don't have is no fault.
        wrong = {
            kind: what
            for kind, what in wrong.items()
            if _tried(part, source, language, sample(kind), missing_is_fine=True)
        }
    if wrong:
        yield from (f"does not work for the sample {kind}: {what}" for kind, what in wrong.items())
        return
    # The other branches of its conditions; what they leave out on purpose is no fault.
    for kind in tried:
        what = _tried(part, source, language, bare(kind), missing_is_fine=True)
        if what:
            yield f"does not work when little is known of the {kind}: {what}"
            return


def _tried(part: str, source: str, language: str, ctx: TextContext, *, missing_is_fine: bool = False) -> str:
    """What goes wrong, or nothing."""
    try:
        if part == "sms":
            result = _sms(source, language, ctx)
            if result is Reason.TEMPLATE_ERROR:
                return f"longer than {LONGEST_SMS} characters"
            empty = result is Reason.NO_TEXT
        elif part == "subject":
            empty = not _subject(source, language, ctx)
        else:
            empty = not _body(source, language, ctx)[0]
    except UndefinedError as error:
        return "" if missing_is_fine else str(fault_of(error, source))
    except Exception as error:  # noqa: BLE001  # whatever it is, the person who wrote it must hear of it
        return str(fault_of(error, source))
    return "nothing but spaces comes out" if empty and not missing_is_fine else ""
