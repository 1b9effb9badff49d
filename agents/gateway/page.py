"""The pages behind a link to unsubscribe: plain HTML that needs no script, no picture and no colour."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from streams.domain.languages import best_language


class Words(NamedTuple):
    title: str
    question: str
    """With the company's name in it."""
    button: str
    done: str
    unknown: str
    later: str


WORDS: Mapping[str, Words] = {
    "en": Words(
        "Unsubscribe",
        "Do you want to get no more e-mails from {company}?",
        "Unsubscribe",
        "You will get no more e-mails from {company}.",
        "This link is not valid. Please use the one in your e-mail.",
        "This did not work just now. Please try again in a moment.",
    ),
    "es": Words(
        "Darse de baja",
        "¿Quiere dejar de recibir correos de {company}?",
        "Darse de baja",
        "No recibirá más correos de {company}.",
        "Este enlace no es válido. Utilice el de su correo.",
        "No ha funcionado. Inténtelo de nuevo en un momento.",
    ),
    "pl": Words(
        "Rezygnacja",
        "Czy nie chcesz już otrzymywać e-maili od {company}?",
        "Rezygnuję",
        "{company} nie wyśle Ci już e-maili.",
        "Ten link jest nieprawidłowy. Użyj linku ze swojego e-maila.",
        "Nie udało się. Spróbuj ponownie za chwilę.",
    ),
    "pt": Words(
        "Cancelar subscrição",
        "Quer deixar de receber e-mails de {company}?",
        "Cancelar subscrição",
        "Não receberá mais e-mails de {company}.",
        "Esta ligação não é válida. Utilize a do seu e-mail.",
        "Não funcionou. Tente novamente daqui a pouco.",
    ),
    "de": Words(
        "Abmelden",
        "Möchten Sie keine E-Mails von {company} mehr erhalten?",
        "Abmelden",
        "Sie erhalten keine E-Mails von {company} mehr.",
        "Dieser Link ist nicht gültig. Bitte nehmen Sie den in Ihrer E-Mail.",
        "Das hat gerade nicht geklappt. Bitte versuchen Sie es gleich noch einmal.",
    ),
    "fr": Words(
        "Se désabonner",
        "Voulez-vous ne plus recevoir d'e-mails de {company} ?",
        "Se désabonner",
        "Vous ne recevrez plus d'e-mails de {company}.",
        "Ce lien n'est pas valable. Utilisez celui de votre e-mail.",
        "Cela n'a pas fonctionné. Réessayez dans un instant.",
    ),
}

HEADERS = {
    # The address of the page is a key: no cache, no search engine, no other site learns it.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}

_TAG = re.compile(r"\s*([A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?)\s*)?")
_MOST_TAGS = 20


def language_of(accepts: str, company: str) -> str:
    """The best of our languages: what the reader's browser asks for (``Accept-Language``, RFC 9110 12.5.4),
    else the company's own, else English."""
    wanted = []
    for item in accepts.split(",")[:_MOST_TAGS]:
        match = _TAG.fullmatch(item)
        if match is not None and float(match[2] or 1) > 0:
            wanted.append((-float(match[2] or 1), match[1]))
    tags = [tag for _, tag in sorted(wanted, key=lambda pair: pair[0])]
    return best_language((*(tag for tag in tags if _has(tag)), company, "en"), WORDS)


def question(language: str, company: str) -> str:
    """Asks; nothing changes by looking at it, since mail scanners follow every link."""
    words = WORDS[language]
    form = (
        f'<form method="post"><input type="hidden" name="confirm" value="page">'
        f"<button>{escape(words.button)}</button></form>"
    )
    return _page(language, words.title, words.question.format(company=company), form)


def done(language: str, company: str) -> str:
    return _page(language, WORDS[language].title, WORDS[language].done.format(company=company))


def unknown(language: str) -> str:
    return _page(language, WORDS[language].title, WORDS[language].unknown)


def later(language: str) -> str:
    return _page(language, WORDS[language].title, WORDS[language].later)


def _has(tag: str) -> bool:
    return tag.partition("-")[0].lower() in WORDS


def _page(language: str, title: str, text: str, rest: str = "") -> str:
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>body{{font:1.125rem/1.5 sans-serif;max-width:34rem;"
        "margin:3rem auto;padding:0 1rem}button{font:inherit;padding:.6rem 1.2rem}</style></head>"
        f"<body><main><h1>{escape(title)}</h1><p>{escape(text)}</p>{rest}</main></body></html>\n"
    )
