"""Texts, written beside what a customer would read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from multidict import MultiMapping

from console.api import shop
from console.api.forms import NameQuery, TemplateForm
from console.api.views import Paged
from console.service.edits import ANY
from console.service.errors import ChangedError, InUseError, NotThereError, RefusedError
from console.service.kinds import template_problems
from console.service.known import text_context
from console.web import trial
from console.web.layout import Fields, notice, saying, table
from console.web.markup import Html, h, joined, url
from console.web.reading import read
from console.web.visits import Answer, Data, Page, Redirect, Visit
from console.web.words import LANGUAGES
from schemas.records import EntityKind, Role, Template, TemplateText
from streams.domain import segments
from streams.domain.problems import Problem
from streams.domain.reasons import Reason
from streams.domain.template_sample import sample
from streams.domain.template_values import VARIABLES, TextContext
from streams.domain.templating import render_email, render_sms, sample_segments

_PARTS = ("sms", "subject", "body")
_USERS = 20
"""Rules that are named; a company may have thousands."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer would read, by sample data. ``cost`` is said in words."""

    sms: str
    subject: str
    body: str
    cost: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """What texts are tried with: by default samples, the first that they work for."""

    kind: EntityKind | None = None
    id: str = ""
    known: TextContext | None = None

    @property
    def missing(self) -> bool:
        return bool(self.id) and self.known is None


_SAMPLES = About()


async def show_templates(visit: Visit) -> Answer:
    words, company = visit.words, visit.shop.id
    query = {"limit": "200"} | {name: visit.query[name] for name in ("q", "cursor") if visit.query.get(name)}
    reply = await shop.lister("template")(visit.call(query=read(NameQuery, query)))
    assert isinstance(reply.value, Paged)
    said = {"saved": "saved"}.get(visit.query.get("said", ""))
    body = [notice(words(said))] if said else []
    if visit.may(Role.EDITOR):
        link = url("c", company, "templates", "new")
        body.append(h("p", h("a", words("add.template"), href=link, class_="button")))
    rows = []
    for one in reply.value.items:
        costs = [
            f"{language}: {words('segments', n=found)}"
            for language in one.texts
            if (found := sample_segments(one, language, visit.shop).segments)
        ]
        rows.append(
            (
                h("a", one.name or one.id, href=url("c", company, "templates", one.id)),
                ", ".join(one.texts),
                ", ".join(costs),
            )
        )
    heads = [words(f"head.{name}") for name in ("template", "languages", "segments")]
    body.append(table(heads, rows, words("menu.templates")) if rows else h("p", words("none")))
    if reply.value.next is not None:
        body.append(
            h("p", h("a", words("more"), href=url("c", company, "templates", cursor=reply.value.next)))
        )
    return Page(title=words("menu.templates"), body=body, at="templates")


async def new_template(visit: Visit) -> Answer:
    texts = {visit.shop.language: TemplateText()}
    return _page(visit, _SAMPLES, "", texts, key=secrets.token_hex(16))


async def show_template(visit: Visit) -> Answer:
    found = _found(visit)
    return _page(visit, await _about(visit, visit.query), found.name, found.texts, template=found)


async def create_template(visit: Visit) -> Answer:
    key, (name, texts) = visit.form.get("key", "")[:64], _given(visit)
    if not key:
        raise InUseError("the form is too old; load it again")
    about = await _about(visit, visit.form)
    if "look" in visit.form:
        return _page(visit, about, name, texts, _faults(visit, name, texts, "new"), key=key)
    if trial.wanted(visit):
        said = await trial.of_template(visit, texts)
        return _page(visit, about, name, texts, key=key, said=said)
    assert visit.who is not None
    own = "\0".join(("page", visit.who.id, visit.shop.id, key))
    try:
        body = read(TemplateForm, {"name": name, "texts": msgspec.to_builtins(written(texts))})
        await shop.creator("template")(visit.call(body=body, key=own))
    except RefusedError as error:
        return _page(visit, about, name, texts, error.problems, key=key, status=422)
    return Redirect(to=url("c", visit.shop.id, "templates", said="saved"))


async def save_template(visit: Visit) -> Answer:
    template, (name, texts) = _found(visit), _given(visit)
    about = await _about(visit, visit.form)
    if "look" in visit.form:
        faults = _faults(visit, name, texts, template.id)
        return _page(visit, about, name, texts, faults, template=template)
    if trial.wanted(visit):
        said = await trial.of_template(visit, texts)
        return _page(visit, about, name, texts, template=template, said=said)
    version = visit.form.get("version", "")
    try:
        body = read(TemplateForm, {"name": name, "texts": msgspec.to_builtins(written(texts))})
        wanted = int(version) if version.isascii() and version.isdigit() else ANY - 1
        await shop.replacer("template")(visit.call(body=body, path={"id": template.id}, version=wanted))
    except RefusedError as error:
        return _page(visit, about, name, texts, error.problems, template=template, status=422)
    except ChangedError:
        return _page(visit, about, name, texts, template=template, status=412)
    return Redirect(to=url("c", visit.shop.id, "templates", said="saved"))


async def delete_template(visit: Visit) -> Answer:
    template = _found(visit)
    await shop.deleter("template")(visit.call(path={"id": template.id}))
    return Redirect(to=url("c", visit.shop.id, "templates", said="saved"))


async def preview(visit: Visit) -> Answer:
    """For the page's script, while somebody types."""
    language = visit.form.get("language", "")[:20]
    text = TemplateText(**{part: visit.form.get(part, "")[:50_000] for part in _PARTS})
    return Data(_preview(visit, language, text, await _about(visit, visit.form)))


async def _about(visit: Visit, given: MultiMapping[str]) -> About:
    """Customers' names are in it: what is real is for those who write to them."""
    chosen, id_ = given.get("about", ""), given.get("about_id", "").strip()[:200]
    kind = EntityKind(chosen) if chosen in set(EntityKind) else None
    if kind is None or not id_ or not visit.may(Role.EDITOR):
        return About(kind)
    return About(kind, id_, await text_context(visit.desk, visit.shop.id, kind, id_))


def _found(visit: Visit) -> Template:
    found = visit.catalog.template(visit.shop.id, visit.path["id"])
    if found is None:
        raise NotThereError
    return found


def _given(visit: Visit) -> tuple[str, dict[str, TemplateText]]:
    return visit.form.get("name", ""), given_texts(visit)


def given_texts(visit: Visit) -> dict[str, TemplateText]:
    """A language that is added, or has nothing in it, comes along."""
    form = visit.form
    texts = {}
    for tag in form.getall("language", [])[:50]:
        texts[tag] = TemplateText(**{part: form.get(f"{tag}.{part}", "") for part in _PARTS})
    added = form.get("added", "")
    if added and added not in texts:
        texts[added] = TemplateText()
    return texts


def written(texts: dict[str, TemplateText]) -> dict[str, TemplateText]:
    """A language without any text is none."""
    return {tag: text for tag, text in texts.items() if text != TemplateText()}


def _faults(visit: Visit, name: str, texts: dict[str, TemplateText], id_: str) -> Sequence[Problem]:
    template = Template(id=id_, company=visit.shop.id, name=name, texts=written(texts), version=1)
    rules = [rule for rule in visit.catalog.rules_of(visit.shop.id) if rule.template_id == id_]
    return template_problems(template, rules, {visit.shop.language})


def _preview(visit: Visit, language: str, text: TemplateText, about: About) -> Preview:
    words, company = visit.words, visit.shop
    template = Template(id="preview", company=company.id, texts={language: text}, version=1)
    sms: str | Reason = Reason.NO_TEXT
    email = None
    unfilled = False
    for ctx in _contexts(visit, about):
        if isinstance(sms, Reason) and text.sms:
            sms = render_sms(template, ctx)
            unfilled = unfilled or isinstance(sms, Reason)
        if email is None and (text.subject or text.body):
            found = render_email(template, ctx)
            email = None if isinstance(found, Reason) else found
            unfilled = unfilled or email is None
    cost = ""
    if not isinstance(sms, Reason):
        counted = segments.count(sms)
        cost = words(
            "cost", characters=counted.characters, segments=counted.segments, encoding=counted.encoding
        )
    faults = [words("about.missing")] if about.missing else []
    if about.known is not None and unfilled:
        faults.append(words("about.unfilled"))
    for fault in template_problems(template, (), ()):
        part = fault.field.rpartition(".")[2]
        faults.append(f"{words(f'field.{part}')}: {fault.message}" if part in _PARTS else fault.message)
    return Preview(
        sms="" if isinstance(sms, Reason) else sms,
        subject=email.subject if email is not None else "",
        body=email.text if email is not None else "",
        cost=cost,
        problems=tuple(faults) if text != TemplateText() else (),
    )


def _contexts(visit: Visit, about: About) -> list[TextContext]:
    if about.known is not None:
        return [about.known]
    company = visit.shop
    kinds = list(EntityKind) if about.kind is None else [about.kind]
    return [msgspec.structs.replace(sample(one), company=company, currency=company.currency) for one in kinds]


# --- the form


def _page(
    visit: Visit,
    about: About,
    name: str,
    texts: dict[str, TemplateText],
    problems: Sequence[Problem] = (),
    *,
    template: Template | None = None,
    key: str = "",
    said: Html | None = None,
    status: int = 200,
) -> Page:
    words, company, editor = visit.words, visit.shop.id, visit.may(Role.EDITOR)
    fields = Fields(words, problems)
    action = url("c", company, "templates", *([template.id] if template is not None else []))
    hidden = {"version": str(template.version)} if template is not None else {"key": key}
    adding = h(
        "div",
        added_language(visit, texts),
        h("button", words("template.look"), name="look", value="yes", class_="quiet"),
        class_="row",
    )
    saving = h(
        "p", h("button", words("save")), " ", h("a", words("back"), href=url("c", company, "templates"))
    )
    shown = [
        fields.text("name", name, maxlength=200, readonly=not editor),
        _trial(visit, about) if editor else None,
        [language_box(visit, fields, tag, text, editor, about) for tag, text in texts.items()],
    ]
    form = h("div", shown)
    if editor:
        form = h(
            "form",
            visit.csrf(),
            [h("input", type="hidden", name=one, value=value) for one, value in hidden.items()],
            shown,
            variable_buttons(visit),
            adding,
            saving,
            trial.row(visit, texts),
            method="post",
            action=action,
            data_preview=url("c", company, "templates", "preview"),
        )
    body: list[Html | None] = [said, fields.summary(), form]
    if status == 412:
        body.insert(0, notice(words("changed_meanwhile"), wrong=True))
    if template is not None:
        body += [_users(visit, template), _removal(visit, template) if editor else None]
    title = words("add.template") if template is None else template.name or template.id
    return Page(title=title, body=[one for one in body if one is not None], status=status, at="templates")


def _trial(visit: Visit, about: About) -> Html:
    """What the preview is made with."""
    words = visit.words
    kinds = {"": words("about.sample"), **{one.value: words(f"entity.{one}") for one in EntityKind}}
    options = [h("option", label, value=one, selected=one == about.kind) for one, label in kinds.items()]
    return h(
        "div",
        h("label", words("about"), for_="about"),
        h("select", options, id="about", name="about"),
        h("label", words("about.id"), for_="about_id"),
        h(
            "input",
            type="text",
            id="about_id",
            name="about_id",
            value=about.id,
            maxlength=200,
            aria_invalid="true" if about.missing else None,
            aria_describedby="about_id-problem" if about.missing else None,
        ),
        h("button", words("template.look"), name="look", value="yes", class_="quiet"),
        h("p", words("about.missing"), class_="problem", id="about_id-problem") if about.missing else None,
        class_="row",
        data_about=True,
    )


def added_language(visit: Visit, texts: Mapping[str, TemplateText]) -> Html:
    missing = {"": "-", **{tag: label for tag, label in LANGUAGES.items() if tag not in texts}}
    options = [h("option", label, value=tag) for tag, label in missing.items()]
    label = h("label", visit.words("add.language"), for_="added")
    return joined(label, h("select", options, id="added", name="added"))


def language_box(
    visit: Visit, fields: Fields, tag: str, text: TemplateText, editor: bool, about: About = _SAMPLES
) -> Html:
    words = visit.words
    shown = _preview(visit, tag, text, about)
    areas = []
    for part, rows in (("sms", 4), ("subject", 1), ("body", 8)):
        name = f"{tag}.{part}"
        area = h(
            "textarea",
            "\n" + getattr(text, part),  # the first line end is not part of it (HTML, textarea)
            id=f"texts.{name}",
            name=name,
            rows=rows,
            readonly=not editor,
            lang=tag,
            data_part=part,
            **fields.told(f"texts.{name}"),
        )
        wrong = fields.of(f"texts.{name}")
        label = h("label", words(f"field.{part}"), for_=f"texts.{name}")
        said = [saying(one, words) for one in wrong]
        areas.append(
            h(
                "div",
                label,
                area,
                h("p", said, class_="problem", id=f"texts.{name}-problem") if wrong else None,
                class_="field",
            )
        )
    return h(
        "fieldset",
        h("legend", LANGUAGES.get(tag, tag)),
        h("input", type="hidden", name="language", value=tag),
        h("div", areas),
        _shown(visit, tag, shown),
        class_="beside",
        id=f"texts.{tag}",
        data_language=tag,
    )


def _shown(visit: Visit, tag: str, shown: Preview) -> Html:
    words = visit.words
    parts = [
        h("h2", words("preview")),
        h("p", shown.sms, class_="bubble", data_shows="sms", lang=tag),
        h("p", shown.cost, data_shows="cost", role="status"),
        h("p", shown.subject, class_="subject", data_shows="subject", lang=tag),
        h("p", shown.body, class_="mail", data_shows="body", lang=tag),
        h("p", " ".join(shown.problems), class_="problem", data_shows="problems", lang="en"),
    ]
    return h("div", parts, class_="preview")


def variable_buttons(visit: Visit) -> Html:
    """Put in where one writes, by a click; without script they are there to be copied."""
    shown = []
    for root, those in VARIABLES.items():
        buttons = [
            h(
                "button",
                f"{{{{ {root}.{name} }}}}",
                type="button",
                class_="variable",
                title=field.meaning,
                data_insert=f"{{{{ {root}.{name} }}}}",
            )
            for name, field in those.items()
        ]
        shown.append(h("p", joined([joined(one, " ") for one in buttons])))
    return h("details", h("summary", visit.words("variables")), shown)


def _users(visit: Visit, template: Template) -> Html | None:
    company = visit.shop.id
    users = [rule for rule in visit.catalog.rules_of(company) if rule.template_id == template.id]
    if not users:
        return None
    entries = [
        h("li", h("a", rule.name or rule.id, href=url("c", company, "rules", rule.id)))
        for rule in users[:_USERS]
    ]
    rest = users[_USERS:]
    more = url("c", company, "rules", entity=rest[0].entity, template_id=template.id) if rest else ""
    link = h("p", h("a", visit.words("more"), href=more)) if rest else None
    return h("section", h("h2", visit.words("used_by")), h("ul", entries), link)


def _removal(visit: Visit, template: Template) -> Html:
    return h(
        "form",
        visit.csrf(),
        h("button", visit.words("delete"), class_="danger"),
        method="post",
        action=url("c", template.company, "templates", template.id, "delete"),
    )
