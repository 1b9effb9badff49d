"""The table of pages. The server serves it, and the tests go through it."""

from __future__ import annotations

from collections.abc import Sequence

from console.service.connecting import CALLBACK
from console.web import (
    channels,
    entrance,
    hours,
    mailboxes,
    messages,
    records,
    rule_form,
    rule_list,
    settings,
    templates,
)
from console.web.visits import Handler, PageRoute
from schemas.records import Role

_C = "/c/{company}"


def _get(
    path: str, name: str, handler: Handler, role: Role | None = Role.VIEWER, *, open_: bool = False
) -> PageRoute:
    return PageRoute(method="GET", path=path, name=name, handler=handler, role=role, open=open_)


def _post(
    path: str, name: str, handler: Handler, role: Role | None = Role.EDITOR, *, open_: bool = False
) -> PageRoute:
    return PageRoute(method="POST", path=path, name=name, handler=handler, role=role, open=open_)


def _edited(plural: str, name: str, handlers: Sequence[Handler]) -> list[PageRoute]:
    """Made, shown, changed and deleted by admins."""
    many = f"{_C}/settings/{plural}"
    new, create, show, save, delete = handlers
    return [
        _get(f"{many}/new", f"new_{name}", new, Role.ADMIN),
        _post(many, f"create_{name}", create, Role.ADMIN),
        _get(f"{many}/{{id}}", name, show, Role.ADMIN),
        _post(f"{many}/{{id}}", f"save_{name}", save, Role.ADMIN),
        _post(f"{many}/{{id}}/delete", f"delete_{name}", delete, Role.ADMIN),
    ]


ROUTES: tuple[PageRoute, ...] = (
    _get("/", "home", entrance.home, None, open_=True),
    _get("/login", "login", entrance.show_login, None, open_=True),
    _post("/login", "log_in", entrance.log_in, None, open_=True),
    _post("/logout", "log_out", entrance.log_out, None),
    _post("/language", "language", entrance.choose_language, None, open_=True),
    _get("/companies", "companies", entrance.companies, None),
    _get(f"{_C}/rules", "rules", rule_list.show_rules),
    _post(f"{_C}/rules", "create_rule", rule_form.create_rule),
    _get(f"{_C}/rules/new", "new_rule", rule_form.new_rule, Role.EDITOR),
    _post(f"{_C}/rules/bulk", "bulk", rule_list.bulk),
    _get(f"{_C}/rules/{{id}}", "rule", rule_form.show_rule, Role.EDITOR),
    _post(f"{_C}/rules/{{id}}", "save_rule", rule_form.save_rule),
    _post(f"{_C}/rules/{{id}}/delete", "delete_rule", rule_form.delete_rule),
    _get(f"{_C}/mailboxes", "mailboxes", mailboxes.show_mailboxes),
    _post(f"{_C}/mailboxes/connect", "connect_mailbox", mailboxes.connect_mailbox),
    _get(CALLBACK, "come_back", mailboxes.come_back, None, open_=True),
    _get(mailboxes.FINISH, "finish_mailbox", mailboxes.finish, None),
    _get(f"{_C}/templates", "templates", templates.show_templates),
    _post(f"{_C}/templates", "create_template", templates.create_template),
    _get(f"{_C}/templates/new", "new_template", templates.new_template, Role.EDITOR),
    _post(f"{_C}/templates/preview", "preview", templates.preview, Role.VIEWER),
    _get(f"{_C}/templates/{{id}}", "template", templates.show_template),
    _post(f"{_C}/templates/{{id}}", "save_template", templates.save_template),
    _post(f"{_C}/templates/{{id}}/delete", "delete_template", templates.delete_template),
    _get(f"{_C}/feed", "find_feed", messages.find_feed),
    _get(f"{_C}/feed/{{kind}}/{{id}}", "feed", messages.show_feed),
    _get(f"{_C}/pending", "pending", messages.show_pending),
    _get(f"{_C}/deliveries", "deliveries", messages.search),
    _get(f"{_C}/deliveries/{{id}}", "delivery", messages.show_delivery),
    _get(f"{_C}/channels", "channels", channels.show_channels),
    _get(f"{_C}/hours", "hours", hours.show_hours),
    _get(f"{_C}/settings", "settings", settings.show_settings),
    _get(f"{_C}/settings/company", "company", settings.COMPANY_PAGES[0], Role.ADMIN),
    _post(f"{_C}/settings/company", "save_company", settings.COMPANY_PAGES[1], Role.ADMIN),
    _get(f"{_C}/settings/statuses", "statuses", settings.show_statuses),
    *_edited("statuses", "status", settings.STATUS_PAGES),
    *_edited("locations", "location", settings.LOCATION_PAGES),
    _get(f"{_C}/settings/suppressions", "suppressions", records.show_suppressions),
    _post(f"{_C}/settings/suppressions", "add_suppression", records.add_suppression, Role.ADMIN),
    _post(
        f"{_C}/settings/suppressions/{{id}}/lift", "lift_suppression", records.lift_suppression, Role.ADMIN
    ),
    _get(f"{_C}/settings/audit", "audit", records.show_audit, Role.EDITOR),
)
