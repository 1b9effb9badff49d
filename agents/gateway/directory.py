"""Whose number a text came to, who sends mail from an address, and which blocks a START does not lift."""

from __future__ import annotations

from schemas.records import Channel, Company, Mailbox, Suppression
from streams.domain.blocks import is_lasting
from streams.domain.catalog import Catalog, Reference, ReferenceType, suppression_id


class GatewayCatalog(Catalog):
    """Of the suppressions, of which there may be millions, only those that last."""

    __slots__ = ("_lasting",)

    def __init__(self) -> None:
        super().__init__()
        self._lasting: dict[tuple[str, str], str] = {}

    def apply(self, record: Reference) -> bool:
        if not isinstance(record, Suppression):
            return super().apply(record)
        key = (record.company, suppression_id(record.channel, record.address))
        if is_lasting(record.reason):
            self._lasting[key] = record.reason or "unnamed"
            return True
        return self._lasting.pop(key, None) is not None

    def remove(self, record_type: ReferenceType, company: str, id: str) -> bool:
        if record_type is not Suppression:
            return super().remove(record_type, company, id)
        return self._lasting.pop((company, id), None) is not None

    def lasting(self, company: str, channel: Channel, address: str) -> str:
        """The reason of a block that a START does not lift, or not wholly; empty: there is none."""
        return self._lasting.get((company, suppression_id(channel, address)), "")


class Directory:
    """Looks into ``catalog``, which somebody else keeps; ``changed`` after every change of a company."""

    def __init__(self, catalog: GatewayCatalog) -> None:
        self._catalog = catalog
        self._by_sender: dict[str, list[str]] | None = None
        self._by_email: dict[str, list[str]] = {}

    def changed(self, _: object = None) -> None:
        self._by_sender = None

    def company(self, company: str) -> Company | None:
        return self._catalog.company(company)

    def mailboxes(self) -> list[Mailbox]:
        """Those that are connected, of all companies."""
        companies = self._catalog.companies()
        found = (box for company in companies for box in self._catalog.mailboxes_of(company.id))
        return [box for box in found if box.connected and box.secret_ref]

    def lasting(self, company: str, channel: Channel, address: str) -> str:
        return self._catalog.lasting(company, channel, address)

    def of_number(self, number: str, service: str) -> list[Company]:
        """Several companies may share a number or a messaging service: then a text is for all of them, since
        whoever answers can't know which of them the number stands for."""
        senders = self._senders()
        names = dict.fromkeys([*senders.get(number, ()), *(senders.get(service, ()) if service else ())])
        return self._known(names)

    def of_address(self, address: str) -> list[Company]:
        self._senders()
        return self._known(dict.fromkeys(self._by_email.get(address.lower(), ())))

    def _known(self, names: dict[str, None]) -> list[Company]:
        return [found for found in map(self._catalog.company, names) if found is not None]

    def _senders(self) -> dict[str, list[str]]:
        if self._by_sender is None:
            self._by_sender, self._by_email = {}, {}
            for company in self._catalog.companies():
                if company.sms_sender:
                    self._by_sender.setdefault(company.sms_sender, []).append(company.id)
                if company.email_sender_address:
                    address = company.email_sender_address.lower()
                    self._by_email.setdefault(address, []).append(company.id)
        return self._by_sender
