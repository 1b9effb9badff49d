"""``carillon demo``: the main job in about a minute, with nothing to set up."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import FrameType

import click
import msgspec

from console.demo import summary
from console.demo.account import slot_of
from console.demo.afterwards import FORWARD, OPEN, Afterwards
from console.demo.cast import Shop
from console.demo.driver import Driver
from console.demo.hands import move_appointment, put_forward
from console.demo.narrator import Narrator
from console.demo.processes import DemoError
from console.demo.scenario import Scenario
from console.demo.screen import Pace, Screen, open_screen
from console.demo.show import Show
from console.demo.story import APART, SCENES, START, write
from console.demo.world import World
from console.output import may_ask
from console.shopfile import ShopFile, difference, load
from schemas.records import Company, Mailbox, Record
from streams.domain.catalog import Catalog
from streams.kafka.topics import REFERENCE_TOPICS

SHOP = Path(__file__).parents[2] / "examples" / "shop.yaml"
OURS = ("sms", "mail", "gmail", "http_sms", "logs", "texts.txt", "delivery-log.jsonl", OPEN, FORWARD)
_OUT = Path("demo-out")
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_INTERRUPTED = 130
"""What a shell reports of a program that Ctrl-C ended."""


class Span(click.ParamType):
    """``36h``, ``10d``: a length of shop time, in milliseconds."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+)\s*([mhd])", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no length of time: 90m, 36h or 10d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  carillon demo                      the whole story
  carillon demo --speed 3            for quick readers; 0 is as fast as it goes
  carillon demo --scene moved        one scene; give it again for another one
  carillon demo --scene providers    STOP, unsubscribe, a bounce, an outage, Gmail
  carillon demo --for 6d --seed 7    six days of shop time, other customers
  carillon demo --scene lead --console   a short story, then the page: the shop stays open
  carillon demo --no-console         end after the story, also in a terminal
"""
    + "\b\nScenes:\n"
    + "\n".join(f"  {name:<10} {text}" for name, (_, text) in SCENES.items()),
)
@click.option("--for", "length", type=Span(), help="End after this much shop time (90m, 36h, 10d).")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Another seed, other customers; the same seed, the same story.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="How fast lines follow each other; 0: no pauses.",
)
@click.option(
    "--scene",
    "scenes",
    multiple=True,
    type=click.Choice(list(SCENES)),
    help="Tell only this scene (repeatable).",
)
@click.option(
    "--crowd",
    type=click.IntRange(0, 2000),
    default=120,
    show_default=True,
    help="Customers in the background.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4),
    default=1,
    show_default=True,
    help="Worker processes that share the work (each further one starts some seconds later).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=_OUT,
    show_default=True,
    help="Folder for the texts, e-mails and the delivery log.",
)
@click.option(
    "--console/--no-console",
    default=None,
    help="Start carillon console too, and stay open after the story, until Ctrl-C, for whoever wants to use "
    "its page. In a terminal it is, elsewhere not.",
)
@click.pass_context
def demo(
    ctx: click.Context,
    length: int | None,
    seed: int,
    speed: float,
    scenes: tuple[str, ...],
    crowd: int,
    workers: int,
    out: Path,
    console: bool | None,
) -> None:
    """Watch a simulated repair shop, and what its customers get.

    Starts a Kafka broker in memory, a local SMS provider and mail server, and the same workers that run
    against a real broker. The shop's clock runs fast: five weeks in about a minute.

    Lines begin with shop time and place, then: · the shop does something, + a reminder waits, ~ held,
    > sent, x not sent and why, ! a worker is killed. Ends with code 0 when everything on the checklist
    happened and nothing was lost or sent twice.
    """
    if ctx.invoked_subcommand is not None:
        return
    # A terminal that closes, or a supervisor that ends the demo, gets the same clean end as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    screen = open_screen()
    try:
        shop = Shop(shop_records(SHOP, outside=not APART.isdisjoint(scenes)))
        scenario = write(shop, seed, scenes=scenes, crowd=crowd)
        if length is not None:
            scenario = scenario.until(START + length)
        with_page = may_ask() if console is None else console
        code = tell(shop, scenario, screen, Pace(speed), out, workers, console=with_page)
    except DemoError as error:
        screen.close()
        raise click.ClickException(str(error)) from None
    finally:
        screen.close()
    ctx.exit(code)


@demo.command("move")
@click.argument("appointment")
@click.argument("when", type=click.DateTime(["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]))
@click.pass_context
def move(ctx: click.Context, appointment: str, when: datetime) -> None:
    """Move an appointment of the shop that stays open, as its own program would.

    Publishes the next change of APPOINTMENT to the topic appointments. WHEN is on the clocks of its location.

    \b
    Examples:
      carillon demo move a-1 "2026-05-20 15:00"
    """
    try:
        click.echo(move_appointment(_folder(ctx), appointment, when))
    except DemoError as error:
        raise click.ClickException(str(error)) from None


@demo.command("forward")
@click.argument("length", type=Span())
@click.pass_context
def forward(ctx: click.Context, length: int) -> None:
    """Put the clock of the shop that stays open forward: what is due meanwhile is sent.

    \b
    Examples:
      carillon demo forward 6d
    """
    try:
        click.echo(put_forward(_folder(ctx), length))
    except DemoError as error:
        raise click.ClickException(str(error)) from None


def _folder(ctx: click.Context) -> Path:
    assert ctx.parent is not None
    out: Path = ctx.parent.params["out"]
    return out


def _called(out: Path) -> str:
    """How whoever runs this calls it again."""
    program = Path(sys.argv[0])
    words = [sys.argv[0]] if program.name == "carillon" else [sys.executable, "-m", "console"]
    return shlex.join([*words, "demo", *(["--out", str(out)] if out != _OUT else [])])


def tell(
    shop: Shop,
    scenario: Scenario,
    screen: Screen,
    pace: Pace,
    out: Path,
    workers: int,
    *,
    console: bool = False,
) -> int:
    """Runs the story and its end; the exit code. Raises DemoError when it can't go on."""
    clear(out)
    world = World(out, shop, scenario, workers=workers, aside=screen.aside)
    driver = Driver(world.clock, world, world.ends, REFERENCE_TOPICS)
    narrator = Narrator(shop, scenario.people, (slot_of(item) for item in scenario.expected))
    show = Show(shop, scenario, world, driver, narrator, screen, pace)
    interrupted, entrance = False, None
    try:
        try:
            world.start()
            if console:
                entrance = world.start_console()
                screen.aside(f"its API: {entrance.api}, token {entrance.token}")
                screen.aside(f"its page: {entrance.page}, user {entrance.user}, password {entrance.password}")
            show.play()
        except KeyboardInterrupt:
            interrupted = True
            screen.aside("stopped; this is how far it got")
        account, checked = show.account(), show.checked()
        summary.keep(out, show.book, world.ledgers.messages)
        screen.block(
            [
                *summary.outcomes(account),
                *summary.checklist(checked),
                *summary.count(account),
                *summary.kept(out),
            ]
        )
        if entrance is not None and not interrupted:
            with suppress(KeyboardInterrupt):
                Afterwards(shop, world, show, screen, out, entrance, _called(out)).stay()
    finally:
        world.close()
    if interrupted:
        return _INTERRUPTED
    return 0 if all(item.happened for item in checked) and not (account.lost or account.twice) else 1


NUMBER = "+48732100100"
"""Of the shop where customers answer it: the file's sender is a name, to which nobody can."""


def shop_records(path: Path, *, outside: bool = False) -> tuple[Record, ...]:
    """The records of a shop file, with versions, in the order in which they are published.

    Its mailboxes are shown as disconnected, unless there is an ``outside`` with a Gmail: a demo logs in
    nowhere else, and the e-mails of such a rule go out under the service's own address.
    """
    shop = load(path)
    if not isinstance(shop, ShopFile):
        raise DemoError(f"{path}:\n" + "\n".join(f"  {problem}" for problem in shop))
    records = [item.record for item in difference(shop, Catalog(), START, "demo") if item.record is not None]
    return tuple(_for_demo(record, outside=outside) for record in records)


def _for_demo(record: Record, *, outside: bool) -> Record:
    if isinstance(record, Mailbox):
        return msgspec.structs.replace(record, connected=outside)
    if isinstance(record, Company) and outside:
        return msgspec.structs.replace(record, sms_sender=NUMBER)
    return record


def clear(out: Path) -> None:
    """Removes what an earlier demo left in ``out``, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
