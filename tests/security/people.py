"""Values that stand nowhere else in the program or its tests: where one shows, something has leaked."""

from __future__ import annotations

from deploy.fakes.sms import TOKEN

PASSWORD, HASH_KEY, REGISTRY = "correct-horse-battery", "marmalade-hash-key", "registry-owl-password"
SECRETS = (TOKEN, PASSWORD, HASH_KEY, REGISTRY)
TEXT = "tangerine velocipede"
NAMES = ("Zyxelda", "Quibbleworth", "Featherstonehaugh")
MAILBOXES = ("zyx.quibble", "b.feathers", "kafkaesque", "wrenfield")
NUMBERS = ("501987123", "501987124", "501987125", "501987126", "501987127", "501987128")
PERSONAL = (*NAMES, *MAILBOXES, *NUMBERS, TEXT)


def told(text: str, values: tuple[str, ...]) -> list[str]:
    """The lines of ``text`` that have one of the values, in any case."""
    return [line for line in text.splitlines() if any(value.lower() in line.lower() for value in values)]
