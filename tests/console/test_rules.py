"""What a rule costs, as ``carillon rules list`` shows it."""

import pytest

from console.rules import cost
from schemas.records import Channel, Template, TemplateText, Trigger
from streams.domain.catalog import Catalog
from tests.support.shop import C, notification


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ({"en": "short"}, "1"),
        ({"en": "x" * 161}, "2"),
        ({"en": "short", "pl": "zażółć " * 12}, "1-2"),
        ({"en": "a" * 161, "pl": "b" * 161}, "2"),
        ({"en": ""}, ""),
        ({"en": "{{ broken"}, ""),
    ],
)
def test_segments_of_one_message(texts: dict[str, str], shown: str) -> None:
    catalog = Catalog()
    made = {language: TemplateText(sms=text) for language, text in texts.items()}
    catalog.apply(Template(id="t", company=C, texts=made, version=1))
    assert cost(notification(Trigger.CREATED), catalog) == shown
    assert not cost(notification(Trigger.CREATED, channel=Channel.EMAIL), catalog)
    assert not cost(notification(Trigger.CREATED, template_id="none"), catalog)
