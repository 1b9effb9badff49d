"""The command ``carillon``: a table of subcommands, each in a module of its own, imported when it is called.

A subcommand is one line of ``COMMANDS``: its name, where its click command is, and the sentence that
``carillon --help`` shows (kept here so that the help imports nothing).
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click

from streams.settings import SettingsError


class Entry(NamedTuple):
    target: str
    """``module:function`` of a click command."""
    sentence: str


COMMANDS: dict[str, Entry] = {
    "worker": Entry("console.worker:worker", "Run a worker: read changes, arm timers, send what is due."),
    "gateway": Entry(
        "console.gateway:gateway", "Take receipts, incoming texts, unsubscriptions and bounces."
    ),
    "senders": Entry(
        "console.senders:senders", "Try the providers with one message; print the DNS records for e-mail."
    ),
    "console": Entry("console.serve:console", "Serve the HTTP API; set up who may use it."),
    "demo": Entry("console.demo.command:demo", "Watch a simulated repair shop and what its customers get."),
    "topics": Entry("console.topics:topics", "Create and check Carillon's topics."),
    "apply": Entry("console.apply:apply", "Publish a company's statuses, locations, templates and rules."),
    "export": Entry("console.apply:export", "Print what a company has as a shop file."),
    "rules": Entry("console.rules:rules", "List, switch, change, copy and delete a company's rules."),
    "templates": Entry("console.templates:templates", "List, show, check and delete a company's templates."),
    "pending": Entry("console.deliveries:pending", "Show a company's messages to come."),
    "deliveries": Entry("console.deliveries:deliveries", "Find messages of a company."),
    "channels": Entry("console.channels:channels", "Pause a channel at once, or a company on it; resume it."),
    "feed": Entry("console.feed:feed", "Show what was, will be and was not sent about an entity, and why."),
    "check-events": Entry(
        "console.check_events:check_events", "Say which changes would be accepted, and what each would send."
    ),
    "dead-letters": Entry(
        "console.dead_letters:dead_letters",
        "Look at records that could not be worked on, and put repaired ones back.",
    ),
    "reconcile": Entry(
        "console.reconcile:reconcile",
        "Compare what was planned, the log, the stores and the provider's list; say what does not add up.",
    ),
    "capacity": Entry(
        "console.capacity:capacity", "Say what so many messages a day need, and what that costs."
    ),
    "kafka": Entry("console.kafka:kafka", "Start and stop a local Apache Kafka, to try things out."),
}

EXAMPLES = """\b
Examples:
  carillon demo                       a story of five weeks, told in about a minute
  carillon demo --scene held          one scene of it
  carillon apply shop.yaml --dry-run  what a shop file would change
  carillon feed order/R-1042          what became of an order's messages
  carillon COMMAND --help             what a command does, with its own examples

\b
Settings come from the environment (CARILLON_BROKER, CARILLON_DATA, ...) or --set; docs/settings.md has
them all. Exit codes: 0 done, 1 refused or failed (the message says why), 2 wrong usage.
"""


class LazyGroup(click.Group):
    """Knows its subcommands from the table alone; a wrong setting is shown as one line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, function = entry.target.partition(":")
        command = getattr(import_module(module), function)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}; there are: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.sentence) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            lines = "\n".join(f"  {problem}" for problem in error.problems)
            raise click.ClickException(f"the settings are wrong:\n{lines}") from None


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="carillon", message="carillon %(version)s")
def main() -> None:
    """Carillon sends a service business's customers the right SMS or e-mail at the right moment.

    Changes of orders, leads and appointments come in over Kafka; rules, consent and opening hours decide
    what goes out, and the delivery log says what did, what did not, and why.

    New here? Run "carillon demo".
    """
