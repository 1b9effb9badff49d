from __future__ import annotations

import pytest

from streams.domain.languages import best_language


@pytest.mark.parametrize(
    ("wanted", "available", "best"),
    [
        (("pl", "en"), ("en", "pl"), "pl"),
        (("pt-BR", "en"), ("en", "pt", "pt-BR"), "pt-BR"),
        (("pt-BR", "en"), ("en", "pt"), "pt"),
        (("pt-PT", "en"), ("en", "pt-MZ", "pt-BR"), "pt-BR"),
        (("pt", "en"), ("en", "pt-BR"), "pt-BR"),
        (("pt_br", "en"), ("en", "pt-BR"), "pt-BR"),
        (("PL", "en"), ("en", "pl"), "pl"),
        (("pl", "en-GB"), ("de", "en"), "en"),
        (("", "en"), ("de", "en"), "en"),
        (("", ""), ("fr", "de"), "de"),
        (("x", "y"), ("fr", "de", "en"), "de"),
        (("p", "e"), ("en", "pl"), "en"),
        (("en-GB",), ("EN", "en"), "EN"),
        (("en-US",), ("en-GB", "en"), "en"),
    ],
)
def test_best(wanted: tuple[str, ...], available: tuple[str, ...], best: str) -> None:
    assert best_language(wanted, available) == best
