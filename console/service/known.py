"""What is known of one order, lead or appointment, as a message about it would be told."""

from __future__ import annotations

from console.service.desk import Desk
from schemas.errors import DecodeError
from schemas.records import Customer, Details, EntityKind
from streams.domain.template_values import TextContext


async def text_context(desk: Desk, company: str, kind: EntityKind, id_: str) -> TextContext | None:
    """None: the workers know of no such entity, or it was deleted."""
    catalog, home = desk.catalog, desk.catalog.company(company)
    state = await desk.index.ask(lambda queries: queries.entity(company, kind, id_))
    if state is None or state.deleted or home is None:
        return None
    customer_id = state.customer_id
    customer = await desk.index.ask(lambda queries: queries.customer(company, customer_id))
    details = None
    if state.raw:
        try:
            details = (await desk.decode_change(kind, state.raw)).details
        except DecodeError:  # the workers went by its facts alone
            details = None
    return TextContext(
        kind=kind,
        entity_id=id_,
        company=home,
        location=catalog.location(company, state.location_id),
        customer=customer or Customer(company=company, customer_id=customer_id, version=0),
        facts=state.facts(),
        details=details or Details(),
        status=catalog.status(company, kind, state.status_id),
        zone=catalog.zone(company, state.location_id),
        currency=catalog.currency(company),
    )
