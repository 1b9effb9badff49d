"""What is answered to STOP, START and HELP where the SMS provider leaves that to us; a sentence in each of
the languages that there are words for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.records import EventStatus
from streams.domain.languages import best_language

ANSWERS: Mapping[EventStatus, Mapping[str, str]] = {
    EventStatus.STOP: {
        "en": "{company}: you will get no more texts from us. Reply START to get them again.",
        "es": "{company}: no recibirá más mensajes. Responda START para volver a recibirlos.",
        "pl": "{company}: nie wyślemy już SMS-ów. Odpisz START, aby znów je otrzymywać.",
        "pt": "{company}: não receberá mais mensagens. Responda START para voltar a receber.",
        "de": "{company}: Sie erhalten keine SMS mehr. Antworten Sie START, um sie wieder zu erhalten.",
        "fr": "{company} : vous ne recevrez plus de SMS. Répondez START pour en recevoir à nouveau.",
    },
    EventStatus.START: {
        "en": "{company}: you will get our texts again. Reply STOP to end them.",
        "es": "{company}: volverá a recibir mensajes. Responda STOP para dejar de recibirlos.",
        "pl": "{company}: znów otrzymasz nasze SMS-y. Odpisz STOP, aby z nich zrezygnować.",
        "pt": "{company}: voltará a receber mensagens. Responda STOP para deixar de receber.",
        "de": "{company}: Sie erhalten wieder SMS. Antworten Sie STOP, um sie abzubestellen.",
        "fr": "{company} : vous recevrez à nouveau nos SMS. Répondez STOP pour ne plus en recevoir.",
    },
    EventStatus.HELP: {
        "en": "{company} texts you about your orders and appointments. Reply STOP to end these texts.",
        "es": "{company} le escribe sobre sus pedidos y citas. Responda STOP para dejar de recibir mensajes.",
        "pl": "{company} pisze o Twoich zleceniach i wizytach. Odpisz STOP, aby nie otrzymywać SMS-ów.",
        "pt": "{company} envia mensagens sobre pedidos e marcações. Responda STOP para não receber mais.",
        "de": "{company} schreibt zu Ihren Aufträgen und Terminen. Antworten Sie STOP, um das zu beenden.",
        "fr": "{company} vous écrit au sujet de vos commandes et rendez-vous. Répondez STOP pour arrêter.",
    },
}


def answer(status: EventStatus, company: str, languages: Iterable[str], own_help: str = "") -> str:
    """The sentence with the company's name in it, in the first of ``languages`` that there is one for; empty
    for what is no such word. ``own_help``: what the company itself answers to HELP."""
    if own_help and status is EventStatus.HELP:
        return own_help
    texts = ANSWERS.get(status)
    return "" if texts is None else texts[best_language((*languages, "en"), texts)].format(company=company)
