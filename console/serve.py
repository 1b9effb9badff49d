"""``carillon console``: the HTTP API, and who may use it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import click
import msgspec

from console.connection import Connection, connected
from console.log_lines import set_up
from console.moments import length_of
from console.options import given_settings, json_option, set_option
from console.output import local_time, may_ask, print_json, print_table
from console.server_process import run_server
from console.service.people import (
    SHORTEST_PASSWORD,
    People,
    hash_password,
    new_token,
    token_hash,
)
from schemas.records import Role, Token, User
from streams.clock import clock_of
from streams.domain.addresses import normal_phone
from streams.domain.bulk import next_version
from streams.domain.reference import check_id

EXAMPLES = """\b
Examples:
  carillon console user add maria@shop.example --role acme=editor
  carillon console token create crm@shop.example --name "the CRM" --days 365
  carillon console                            listens on 127.0.0.1:6068, behind a proxy with TLS
  curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:6068/api/v1/companies

docs/console.md describes the API, roles and tokens.
"""


@click.group(invoke_without_command=True, epilog=EXAMPLES)
@set_option
@click.pass_context
def console(context: click.Context, overrides: tuple[str, ...]) -> None:
    """Serve the HTTP API: rules, templates, messages, feed, what is to come, and who changed what.

    Its index in CARILLON_DATA is a cache of the topics and can be lost. Users and their tokens are kept on
    the topic users, as hashes.
    """
    context.obj = overrides
    if context.invoked_subcommand is not None:
        return
    settings = given_settings(overrides)
    set_up(settings.log_level)

    from console.api.process import serve  # noqa: PLC0415 - `carillon --help` need not wait for it

    run_server(serve(settings))


# --- users


@console.group()
def user() -> None:
    """Add, list and remove the people and programs that may use the console.

    \b
    Examples:
      carillon console user add maria@shop.example --role acme=editor --password
      carillon console user list
    """


@user.command("add")
@click.argument("id_", metavar="USER")
@click.option("--name", help="What people call them.")
@click.option("--phone", metavar="NUMBER", help="Where SMS go that they try on themselves (+48501111222).")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="COMPANY=ROLE",
    help="viewer, editor or admin; may be repeated. * is every company; COMPANY=none takes it away.",
)
@click.option("--password", is_flag=True, help="Ask for a password (or read a line), for browsers.")
@click.option("--disable/--enable", default=None, help="Whether they may do nothing any more.")
@set_option
@click.pass_obj
def add_user(
    outer: tuple[str, ...],
    id_: str,
    name: str | None,
    phone: str | None,
    roles: tuple[str, ...],
    password: bool,
    disable: bool | None,
    overrides: tuple[str, ...],
) -> None:
    """Add a user, or change one: what is not given stays.

    USER is what mailboxes name them by, normally an e-mail address.
    """
    problems = check_id(id_, "USER")
    if problems:
        raise click.BadParameter(problems[0].message, param_hint="USER")
    given = [_role(each) for each in roles]
    if phone and normal_phone(phone, None) is None:
        raise click.BadParameter("expected a number such as +48501111222", param_hint="--phone")
    hashed = hash_password(_new_password()) if password else None

    def change(old: User, now: int) -> User:
        kept = dict(old.roles)
        for company, role in given:
            if role is None:
                kept.pop(company, None)
            else:
                kept[company] = role
        return msgspec.structs.replace(
            old,
            name=old.name if name is None else name,
            phone=old.phone if phone is None else normal_phone(phone, None) or "",
            roles=kept,
            password=old.password if hashed is None else hashed,
            enabled=old.enabled if disable is None else not disable,
        )

    saved = _change((*outer, *overrides), id_, change, may_be_new=True)
    shown = ", ".join(f"{company}={role}" for company, role in sorted(saved.roles.items()))
    click.echo(f"{saved.id}: {shown or 'no role'}{'' if saved.enabled else ', disabled'}")


@user.command("list")
@json_option
@set_option
@click.pass_obj
def list_users(outer: tuple[str, ...], as_json: bool, overrides: tuple[str, ...]) -> None:
    """Show who may use the console, and as what."""
    with connected(given_settings((*outer, *overrides))) as connection:
        found = _people(connection).all()
    if as_json:
        for one in found:
            hidden = [msgspec.structs.replace(token, hash="") for token in one.tokens]
            print_json(msgspec.structs.replace(one, password="", tokens=tuple(hidden)))
        return
    print_table(
        ("user", "on", "roles", "password", "tokens", "name"),
        [
            (
                one.id,
                "yes" if one.enabled else "no",
                ", ".join(f"{company}={role}" for company, role in sorted(one.roles.items())),
                "yes" if one.password else "no",
                str(len(one.tokens)),
                one.name,
            )
            for one in found
        ],
    )


@user.command("remove")
@click.argument("id_", metavar="USER")
@set_option
@click.pass_obj
def remove_user(outer: tuple[str, ...], id_: str, overrides: tuple[str, ...]) -> None:
    """Remove a user and their tokens: they are out within a second."""
    with connected(given_settings((*outer, *overrides))) as connection:
        if _people(connection).user(id_) is None:
            raise click.ClickException(f"there is no user {id_!r}")
        connection.publish([("users", user_key(id_), None)])
    click.echo(f"removed {id_}")


# --- tokens


@console.group()
def token() -> None:
    """Make, list and revoke bearer tokens.

    \b
    Examples:
      carillon console token create crm@shop.example --name "the CRM" --days 365
      carillon console token revoke crm@shop.example 5f2c81aa
    """


@token.command("create")
@click.argument("id_", metavar="USER")
@click.option("--name", default="", help="What it is used for.")
@click.option("--days", type=click.IntRange(1, 3660), help="After how many days it ends; else never.")
@set_option
@click.pass_obj
def create_token(
    outer: tuple[str, ...], id_: str, name: str, days: int | None, overrides: tuple[str, ...]
) -> None:
    """Print a new token of a user, which may do what the user may. It is shown once; only a hash is kept."""
    secret = new_token()

    def change(old: User, now: int) -> User:
        ends = None if days is None else now + length_of("--days", f"{days}d")
        made = Token(
            id=secrets.token_hex(4), name=name, hash=token_hash(secret), created_at=now, expires_at=ends
        )
        return msgspec.structs.replace(old, tokens=(*old.tokens, made))

    _change((*outer, *overrides), id_, change)
    click.echo(secret)


@token.command("list")
@click.argument("id_", metavar="USER")
@set_option
@click.pass_obj
def list_tokens(outer: tuple[str, ...], id_: str, overrides: tuple[str, ...]) -> None:
    """Show the tokens of a user, without what they are."""
    with connected(given_settings((*outer, *overrides))) as connection:
        found = _known(_people(connection), id_)
    print_table(
        ("token", "made", "ends", "for"),
        [
            (
                one.id,
                local_time(one.created_at, "UTC"),
                "never" if one.expires_at is None else local_time(one.expires_at, "UTC"),
                one.name,
            )
            for one in found.tokens
        ],
    )


@token.command("revoke")
@click.argument("id_", metavar="USER")
@click.argument("token_id", metavar="TOKEN")
@set_option
@click.pass_obj
def revoke_token(outer: tuple[str, ...], id_: str, token_id: str, overrides: tuple[str, ...]) -> None:
    """Make a token worthless, within a second."""

    def change(old: User, now: int) -> User:
        kept = tuple(one for one in old.tokens if one.id != token_id)
        if len(kept) == len(old.tokens):
            raise click.ClickException(f"{id_} has no token {token_id!r}")
        return msgspec.structs.replace(old, tokens=kept)

    _change((*outer, *overrides), id_, change)
    click.echo(f"revoked {token_id}")


# --- within


def user_key(id_: str) -> bytes:
    return id_.replace("%", "%25").encode()  # one part, escaped as split_key expects


def _people(connection: Connection) -> People:
    people = People()
    found: list[User | bytes] = []
    for record in connection.records("users"):
        if not record.value:
            found.append(record.key)
            continue
        one = connection.decode("users", User, record)
        if one is not None:
            found.append(one)
    people.put(found)
    return people


def _known(people: People, id_: str) -> User:
    found = people.user(id_)
    if found is None:
        raise click.ClickException(f"there is no user {id_!r}; carillon console user add makes one")
    return found


def _change(
    overrides: Sequence[str], id_: str, change: Callable[[User, int], User], *, may_be_new: bool = False
) -> User:
    settings = given_settings(overrides)
    now = clock_of(settings.clock).now()
    with connected(settings) as connection:
        people = _people(connection)
        old = people.user(id_)
        if old is None and may_be_new:
            old = User(id=id_, version=0)
        new = change(_known(people, id_) if old is None else old, now)
        version = next_version(0 if old is None else old.version, now)
        new = msgspec.structs.replace(new, version=version, changed_at=now, changed_by="carillon console")
        connection.publish([("users", user_key(id_), new)])
    return new


def _role(text: str) -> tuple[str, Role | None]:
    company, equals, role = text.rpartition("=")
    if not equals or not company or role not in (*Role, "none"):
        raise click.BadParameter(
            f"expected COMPANY=viewer, =editor, =admin or =none, got {text!r}", param_hint="--role"
        )
    return company, None if role == "none" else Role(role)


def _new_password() -> str:
    if may_ask():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = click.get_text_stream("stdin").readline().rstrip("\n")
    if len(password) < SHORTEST_PASSWORD:
        raise click.ClickException(f"a password has at least {SHORTEST_PASSWORD} characters")
    return password
