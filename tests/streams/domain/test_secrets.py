from __future__ import annotations

import pytest

from streams.domain.secrets import is_reference, vault_place


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("vault:secret/acme", ("secret", "acme", "")),
        ("vault:kv-2/carillon/acme.box#refresh_token", ("kv-2", "carillon/acme.box", "refresh_token")),
    ],
)
def test_a_place_in_a_secret_store(reference: str, place: tuple[str, str, str]) -> None:
    assert vault_place(reference) == place
    assert is_reference(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "vault:",
        "vault:secret",
        "vault:secret/",
        "vault:secret/a#",
        "vault:secret//a",
        "vault:/secret/a",
        "vault:secret/../sys/mounts",
        "vault:secret/./a",
        "vault:secret/a?version=1",
        "vault:secret/a%2Fb",
        "vault:secret/a b",
        "vault:secret/a\n",
        "vault:secret/á",
        "vault:secret/a#x#y",
        "secret/a",
    ],
)
def test_what_leads_elsewhere_is_no_place(reference: str) -> None:
    assert vault_place(reference) is None
    assert not is_reference(reference)


def test_places_of_this_machine() -> None:
    assert is_reference("env:NAME")
    assert is_reference("file:/run/secrets/box")
    assert vault_place("env:NAME") is None
