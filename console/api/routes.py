"""The table of routes. The server serves it, the description is made of it, and the tests go through it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from console.api import messages, rules, session, shop, trials
from console.api.calls import Route
from console.api.forms import (
    AuditQuery,
    BulkForm,
    CompanyForm,
    CountQuery,
    DeliveryQuery,
    Form,
    LocationForm,
    LoginForm,
    MailboxForm,
    NameQuery,
    Page,
    PendingQuery,
    RuleForm,
    RuleQuery,
    SaveQuery,
    StatusForm,
    SuppressionForm,
    SuppressionQuery,
    TemplateForm,
    TrafficQuery,
    TrialForm,
)
from console.api.views import (
    BulkView,
    CompanyBrief,
    MailboxView,
    Paged,
    RuleView,
    SavedRuleView,
    SessionView,
    SuppressionView,
    TrialView,
)
from console.service.channels import TrafficView
from console.service.effect import Effect
from console.service.messages import CountView, MessageView
from schemas.records import AuditEntry, Company, Location, Role, Status, Template

VIEWER, EDITOR, ADMIN = Role.VIEWER, Role.EDITOR, Role.ADMIN

COMPANY = "/companies/{company}"


def _records(
    plural: str, name: str, form: type[Form], answer: Any, writes: Role, query: type[Form] = NameQuery
) -> list[Route]:
    """Listed and read by viewers; made, replaced and deleted by those with the role ``writes``."""
    many, one = f"{COMPANY}/{plural}", f"{COMPANY}/{plural}/{{id}}"
    a = "an" if name[0] in "aeiou" else "a"
    return [
        Route(
            method="GET",
            path=many,
            name=f"list_{plural}",
            summary=f"The company's {plural}, by id.",
            handler=shop.lister(name),
            role=VIEWER,
            query=query,
            answer=Paged[answer],
        ),
        Route(
            method="POST",
            path=many,
            name=f"create_{name}",
            summary=f"Makes {a} {name}. Without an id it gets one.",
            handler=shop.creator(name),
            role=writes,
            body=form,
            answer=answer,
            status=201,
            repeatable=True,
        ),
        Route(
            method="GET",
            path=one,
            name=f"get_{name}",
            summary=f"One {name}; its ETag is its version.",
            handler=shop.getter(name),
            role=VIEWER,
            answer=answer,
        ),
        Route(
            method="PUT",
            path=one,
            name=f"replace_{name}",
            summary=f"Puts this in the place of the {name}; what is left out gets its default.",
            handler=shop.replacer(name),
            role=writes,
            body=form,
            answer=answer,
            if_match=True,
        ),
        Route(
            method="DELETE",
            path=one,
            name=f"delete_{name}",
            summary=f"Deletes the {name}; refused while rules use it.",
            handler=shop.deleter(name),
            role=writes,
            status=204,
            if_match=True,
        ),
    ]


_SAVING = {"create_rule": rules.create_rule, "replace_rule": rules.replace_rule}


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/session",
        name="log_in",
        summary="Signs in with a password: sets a cookie.",
        handler=session.log_in,
        open=True,
        body=LoginForm,
        answer=SessionView,
    ),
    Route(
        method="GET",
        path="/session",
        name="who_am_i",
        summary="Who asks, and with which roles.",
        handler=session.who_am_i,
        answer=SessionView,
    ),
    Route(
        method="DELETE",
        path="/session",
        name="log_out",
        summary="Signs out.",
        handler=session.log_out,
        status=204,
    ),
    Route(
        method="GET",
        path="/companies",
        name="list_companies",
        summary="The companies in which one has a role.",
        handler=shop.list_companies,
        query=Page,
        answer=Paged[CompanyBrief],
    ),
    Route(
        method="GET",
        path=COMPANY,
        name="get_company",
        summary="The company's own settings.",
        handler=shop.get_company,
        role=VIEWER,
        answer=Company,
    ),
    Route(
        method="PUT",
        path=COMPANY,
        name="replace_company",
        summary="Puts these settings in the place of the company's.",
        handler=shop.replacer("company"),
        role=ADMIN,
        body=CompanyForm,
        answer=Company,
        if_match=True,
    ),
    *(
        replace(route, handler=_SAVING[route.name], query=SaveQuery, answer=SavedRuleView)
        if route.name in _SAVING
        else route
        for route in _records("rules", "rule", RuleForm, RuleView, EDITOR, RuleQuery)
    ),
    Route(
        method="POST",
        path=f"{COMPANY}/rules/effect",
        name="weigh_rule",
        summary="What saving this rule would do: how many messages it arms, and to whom. Nothing is saved.",
        handler=rules.weigh_rule,
        role=EDITOR,
        body=RuleForm,
        answer=Effect,
    ),
    Route(
        method="POST",
        path=f"{COMPANY}/rules/bulk",
        name="bulk_rules",
        summary="The same on many rules: each is done whole or not at all, with a result for each.",
        handler=shop.bulk_rules,
        role=EDITOR,
        body=BulkForm,
        answer=BulkView,
        repeatable=True,
    ),
    *_records("templates", "template", TemplateForm, Template, EDITOR),
    Route(
        method="POST",
        path=f"{COMPANY}/test-messages",
        name="send_test_message",
        summary="Sends a text, filled in with sample data, to one's own address. It is a real message.",
        handler=trials.send_test_message,
        role=EDITOR,
        body=TrialForm,
        answer=TrialView,
    ),
    *_records("locations", "location", LocationForm, Location, ADMIN),
    *_records("statuses", "status", StatusForm, Status, ADMIN),
    *(
        route
        for route in _records("mailboxes", "mailbox", MailboxForm, MailboxView, ADMIN)
        if route.method != "POST"  # a mailbox is connected by logging in to it
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/suppressions",
        name="list_suppressions",
        summary="Addresses that are not written to.",
        handler=messages.list_suppressions,
        role=VIEWER,
        query=SuppressionQuery,
        answer=Paged[SuppressionView],
    ),
    Route(
        method="POST",
        path=f"{COMPANY}/suppressions",
        name="add_suppression",
        summary="Blocks an address.",
        handler=messages.add_suppression,
        role=ADMIN,
        body=SuppressionForm,
        answer=SuppressionView,
        status=201,
        repeatable=True,
    ),
    Route(
        method="POST",
        path=f"{COMPANY}/suppressions/search",
        name="find_suppression",
        summary="Whether an address is blocked. POST, so that it stands in no log of a proxy.",
        handler=messages.find_suppression,
        role=ADMIN,
        body=SuppressionForm,
        answer=Paged[SuppressionView],
    ),
    Route(
        method="DELETE",
        path=f"{COMPANY}/suppressions/{{id}}",
        name="lift_suppression",
        summary="Lifts the block of an address.",
        handler=messages.lift_suppression,
        role=ADMIN,
        status=204,
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/deliveries",
        name="list_deliveries",
        summary="Messages, by the moment when they go or went; the newest first.",
        handler=messages.list_deliveries,
        role=VIEWER,
        query=DeliveryQuery,
        answer=Paged[MessageView],
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/deliveries/{{id}}",
        name="get_delivery",
        summary="One message, with everything that happened to it.",
        handler=messages.get_delivery,
        role=VIEWER,
        answer=MessageView,
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/feed/{{kind}}/{{id}}",
        name="get_feed",
        summary="Everything that was, will be and was not sent about an order, a lead or an appointment.",
        handler=messages.get_feed,
        role=VIEWER,
        answer=Paged[MessageView],
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/pending",
        name="list_pending",
        summary="Messages to come, the next first.",
        handler=messages.list_pending,
        role=VIEWER,
        query=PendingQuery,
        answer=Paged[MessageView],
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/pending/counts",
        name="count_pending",
        summary="Messages to come, counted by day, location or rule.",
        handler=messages.count_pending,
        role=VIEWER,
        query=CountQuery,
        answer=Paged[CountView],
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/channels",
        name="get_traffic",
        summary="How the channels are, what went over them day by day, and why the rest did not.",
        handler=messages.get_traffic,
        role=VIEWER,
        query=TrafficQuery,
        answer=TrafficView,
    ),
    Route(
        method="GET",
        path=f"{COMPANY}/audit",
        name="list_audit",
        summary="Who changed what and when; the newest first.",
        handler=messages.list_audit,
        role=EDITOR,
        query=AuditQuery,
        answer=Paged[AuditEntry],
    ),
)
