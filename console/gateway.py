"""``carillon gateway``: what providers and customers send back."""

from __future__ import annotations

import asyncio
import mailbox
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from console.log_lines import set_up
from console.options import given_settings, set_option
from console.server_process import run_server
from streams.settings import SettingsError

EXAMPLES = """\b
Examples:
  export CARILLON_PUBLIC_URL=https://hooks.example CARILLON_LINK_KEY=file:/run/secrets/link-key
  carillon gateway                            listens on 127.0.0.1:6067, behind a proxy with TLS
  carillon gateway --set gateway_port=8080 --set gateway_proxies=1
  carillon gateway bounce < mail              one bounce mail; made for a mail server's pipe
  carillon gateway bounce --mbox bounces.mbox
  carillon gateway bounce --maildir ~/Maildir

docs/gateway.md says how to set up the SMS provider, the proxy and the mail pipe.
"""


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@set_option
@click.pass_context
def gateway(context: click.Context, overrides: tuple[str, ...]) -> None:
    """Take receipts, incoming texts and unsubscriptions over HTTP, and bounces from a mail pipe.

    Everything that comes is on the topic provider-events before it is answered. STOP, an unsubscription and a
    hard bounce block the address at once. Start as many as you like behind one public address.
    """
    context.obj = overrides
    if context.invoked_subcommand is not None:
        return
    settings = given_settings(overrides)
    set_up(settings.log_level)

    from agents.gateway.process import serve  # noqa: PLC0415 - `carillon --help` need not wait for it

    run_server(serve(settings))


@gateway.command()
@click.option("--mbox", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A mailbox file.")
@click.option(
    "--maildir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A Maildir: what is new in it is taken down and marked as read.",
)
@click.option(
    "--connected",
    is_flag=True,
    help="The companies' connected Gmail mailboxes: what mail servers have written there, each mail once.",
)
@set_option
@click.pass_obj
def bounce(
    outer: tuple[str, ...],
    overrides: tuple[str, ...],
    mbox: Path | None,
    maildir: Path | None,
    connected: bool,
) -> None:
    """Take down a bounce mail from standard input, or all of a mailbox.

    Exit codes are those of sysexits.h: 0 taken down, or nothing for us (then a line on standard error says
    so); 75 try again later (no brokers, wrong settings: the mail server keeps the mail). Handing a mail in
    twice does no harm.

    \b
    Examples:
      carillon gateway bounce < mail
      carillon gateway bounce --mbox /var/mail/bounces
      carillon gateway bounce --maildir /var/mail/bounces
      carillon gateway bounce --connected
    """
    try:
        settings = given_settings((*outer, *overrides))
        set_up("ERROR")

        from agents.gateway.process import take_bounces, take_mailboxes  # noqa: PLC0415 - imports a Kafka client

        taking = take_mailboxes(settings) if connected else take_bounces(settings, _mails(mbox, maildir))
        account = asyncio.run(taking)
    except SettingsError as error:
        _later("the settings are wrong: " + "; ".join(error.problems))
    except Exception as error:  # noqa: BLE001 - whatever it is, a bounce that is refused is lost
        _later(f"{type(error).__name__}: {error}")
    else:
        click.echo(
            f"bounces: {account.bounces}, addresses blocked: {account.blocked}, "
            f"not about our mail: {account.others}",
            err=True,
        )


def _later(why: str) -> None:
    click.echo(f"try again later: {why}", err=True)
    sys.exit(os.EX_TEMPFAIL)


def _mails(mbox: Path | None, maildir: Path | None) -> Iterator[bytes]:
    if mbox is not None:
        return _of_mbox(mbox)
    return _of_maildir(maildir) if maildir is not None else iter([_of_pipe()])


def _of_pipe() -> bytes:
    from senders.dsn import LONGEST  # noqa: PLC0415 - imports much of the mail package

    stream = sys.stdin.buffer
    raw = stream.read(LONGEST)
    while stream.read(LONGEST):  # a server that is not heard to the end takes it for a failure
        pass
    # Some servers put mbox's first line before the mail.
    return raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw


def _of_mbox(path: Path) -> Iterator[bytes]:
    box = mailbox.mbox(path, create=False)
    try:
        for key in box.iterkeys():
            yield box.get_bytes(key)
    finally:
        box.close()


def _of_maildir(path: Path) -> Iterator[bytes]:
    """Whoever asks for the next mail has taken the one before: that moves on to where the read ones are."""
    from senders.dsn import LONGEST  # noqa: PLC0415 - imports much of the mail package

    for new in sorted((path / "new").iterdir()):
        try:
            with new.open("rb") as file:
                raw = file.read(LONGEST)
        except FileNotFoundError:  # somebody else reads here, too
            continue
        yield raw
        with suppress(FileNotFoundError):
            new.rename(path / "cur" / f"{new.name}:2,S")
