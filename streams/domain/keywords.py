"""The words by which somebody who gets texts stops them, takes them up again, or asks who writes.

The whole message must be such a word or phrase: case, accents, punctuation and the courtesies around it do
not matter, so "Stop, please!" is STOP, and "I'll stop by at five" or "please don't stop" are not. All
languages count at once: nobody is asked to opt out in the language of the shop.

English: the words of the CTIA's Messaging Principles and of Twilio's default handling
(https://help.twilio.com/articles/223134027), "cancel" and "end" among them: the provider blocks the number at
these whatever we think of them. French: ARRET and its kin, which Canada's carriers treat as STOP. "Yes", with
which Twilio lifts its block, lifts nothing here: it is what people answer to a question. Nor does another
language's "cancel" stop anything: it is about the appointment.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from schemas.records import EventStatus

LONGEST = 200
"""Characters; nothing longer is a word, whatever it says."""

STOP: Mapping[str, tuple[str, ...]] = {
    "en": (
        *(
            "stop",
            "stopall",
            "stop all",
            "unsubscribe",
            "cancel",
            "end",
            "quit",
            "revoke",
            "optout",
            "opt out",
        ),
        *("stop texts", "stop texting", "stop texting me", "stop messages", "stop messaging me", "stop sms"),
    ),
    "es": ("parar", "alto", "detener", "baja", "dar de baja", "darme de baja", "darse de baja"),
    "pl": ("wypisz", "wypisz mnie", "rezygnuje", "rezygnacja", "nie pisz", "nie piszcie"),
    "pt": ("parar", "pare", "sair", "descadastrar", "remover"),
    "de": ("stopp", "abmelden", "abbestellen", "abmeldung"),
    "fr": (
        "arret",
        "arrete",
        "arreter",
        "arretez",
        "desabonner",
        "desabonnement",
        "desinscrire",
        "desinscription",
    ),
}
START: Mapping[str, tuple[str, ...]] = {
    "en": ("start", "unstop", "subscribe", "optin", "opt in"),
    "es": ("iniciar", "alta", "reanudar"),
    "pl": ("wznow", "zapisz", "zapisz mnie"),
    "pt": ("iniciar", "comecar", "retomar"),
    "de": ("starten", "anmelden"),
    "fr": ("demarrer", "commencer", "reprendre"),
}
HELP: Mapping[str, tuple[str, ...]] = {
    "en": ("help", "info", "information"),
    "es": ("ayuda", "informacion"),
    "pl": ("pomoc", "informacja", "informacje"),
    "pt": ("ajuda", "informacao"),
    "de": ("hilfe", "informationen"),
    "fr": ("aide", "informations"),
}
COURTESIES: Mapping[str, tuple[str, ...]] = {
    "en": ("please", "pls", "plz", "thanks", "thank you", "thx", "hi", "hello"),
    "es": ("por favor", "gracias", "hola"),
    "pl": ("prosze", "dziekuje", "dzieki", "dzien dobry"),
    "pt": ("se faz favor", "obrigado", "obrigada", "ola"),
    "de": ("bitte", "danke", "hallo"),
    "fr": ("s il vous plait", "s il te plait", "svp", "stp", "merci", "bonjour"),
}
"""What may stand before or behind a word. Written, as all of these, as ``folded`` gives them."""

_WORDS: Mapping[str, EventStatus] = {
    word: status
    for status, table in ((EventStatus.STOP, STOP), (EventStatus.START, START), (EventStatus.HELP, HELP))
    for words in table.values()
    for word in words
}
_AROUND = "|".join(sorted((one for some in COURTESIES.values() for one in some), key=len, reverse=True))
_BEFORE = re.compile(rf"(?:(?:{_AROUND}) )+")
_BEHIND = re.compile(rf"(?: (?:{_AROUND}))+$")


def word_of(text: str) -> EventStatus:
    """STOP, START, HELP or OTHER."""
    if len(text) > LONGEST:
        return EventStatus.OTHER
    plain = folded(text)
    before = _BEFORE.match(plain)
    if before is not None:
        plain = plain[before.end() :]
    return _WORDS.get(_BEHIND.sub("", plain), EventStatus.OTHER)


def folded(text: str) -> str:
    """Lower case, without accents; letters and digits, with single blanks for whatever is between them."""
    # Polish has a letter that Unicode does not take apart.
    apart = unicodedata.normalize("NFKD", text.casefold()).replace("ł", "l")
    kept = (char for char in apart if not unicodedata.combining(char))
    return " ".join("".join(char if char.isalnum() else " " for char in kept).split())
