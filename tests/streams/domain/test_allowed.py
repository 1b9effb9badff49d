from __future__ import annotations

import pytest

from streams.domain.allowed import Allowed


@pytest.mark.parametrize(
    ("patterns", "address", "permitted"),
    [
        ("", "+48600100200", False),
        ("+48600100200", "+48600100200", True),
        ("+48600100200", "+486001002001", False),
        ("+4860*", "+48600100200", True),
        ("+4860*", "+48510100200", False),
        ("Ann@Shop.example", "ann@shop.EXAMPLE", True),
        ("ann@shop.example", "joann@shop.example", False),
        ("@shop.example", "ben@shop.example", True),
        ("@shop.example", "ben@workshop.example", False),
        ("@shop.example", "ben@shop.example.evil.example", False),
        (" , @a.example , +4860* ", "x@a.example", True),
        ("*", "anybody@anywhere.example", True),
    ],
)
def test_who_may_be_written_to(patterns: str, address: str, permitted: bool) -> None:
    assert Allowed(patterns.split(",")).permits(address) is permitted
