"""The demo's loop: publish what the script has for this moment, wait until nothing moves, tell what came of
it, and step the clock to the next moment at which anything happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from console.demo.account import Account, Book, Checked, check, settle, slot_of
from console.demo.cast import WARSAW, Shop
from console.demo.driver import Driver, Status, next_due
from console.demo.narrator import Line, Narrator, moment
from console.demo.scenario import Event, Scenario
from console.demo.screen import Pace, Screen
from console.demo.world import World
from schemas.records import FINAL_STATES, Delivery, DeliveryState


class Show:
    """One telling of ``scenario``. The world has been started."""

    def __init__(
        self,
        shop: Shop,
        scenario: Scenario,
        world: World,
        driver: Driver,
        narrator: Narrator,
        screen: Screen,
        pace: Pace,
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._driver = driver
        self._narrator = narrator
        self._screen = screen
        self._pace = pace
        self._told = frozenset(slot_of(item) for item in scenario.expected)
        self._channels = {rule.id: str(rule.channel) for rule in shop.rules}
        self._changes = 0
        self._pending = 0
        self._ended: Counter[str] = Counter()
        self.book = Book()

    def play(self) -> None:
        """Tells the story to its end. Raises DemoError when something ends or stalls."""
        statuses = self._settle()
        coming = list(self._scenario.events)[::-1]
        while True:
            upcoming = [coming[-1].at] if coming else []
            due = next_due(statuses)
            if due is not None:
                upcoming.append(due)
            then = min(upcoming, default=self._scenario.end + 1)
            if then > self._scenario.end:
                self._driver.move(max(self._driver.now, self._scenario.end))
                self._settle()
                return
            events = []
            while coming and coming[-1].at <= then:
                events.append(coming.pop())
            statuses = self._step(max(then, self._driver.now), events)

    def forward(self, to: int) -> None:
        """Lets the clock run on to ``to``, by way of each moment at which a message is due."""
        statuses = self._settle()
        while (due := next_due(statuses)) is not None and due <= to:
            statuses = self._step(max(due, self._driver.now), ())
        self._driver.move(max(to, self._driver.now))
        self._settle()

    def account(self) -> Account:
        """The count as of now."""
        self._world.ledgers.read()
        owed = [item for item in self._scenario.owed if item.by <= self._driver.now]
        return settle(self.book, self._world.ledgers.messages, owed, self._pending, self._channels)

    def checked(self) -> list[Checked]:
        """The lines of the checklist whose time has come."""
        expected = [item for item in self._scenario.expected if item.by <= self._driver.now]
        return check(expected, self.book, self._world.ledgers.messages)

    def _step(self, now: int, events: Sequence[Event]) -> list[Status]:
        crash = next((event for event in events if event.burst), None)
        for event in events:
            if event.line:
                self._tell(Line(event.at, event.zone, "!" if event.burst else "·", event.line))
        if crash is not None:
            self._world.kill_while_sending(lambda: self._driver.move(now), crash.burst)
        else:
            self._driver.move(now)
        for event in events:
            self._changes += self._world.publish(event.records)
            for act in event.acts:
                self._world.act(act)
        if crash is not None:
            self._world.restart()
        statuses = self._settle()
        if crash is not None:
            account = self.account()
            text = (
                f"the worker is back; of {len(self.book.by_delivery)} messages so far: "
                f"lost {len(account.lost)}, twice {len(account.twice)}"
            )
            self._tell(Line(now, crash.zone, "!", text))
        return statuses

    def _settle(self) -> list[Status]:
        statuses = self._driver.drain()
        self._pending = sum(status.pending for status in statuses)
        fresh = self._world.read_log()
        self.book.add(fresh)
        self._world.ledgers.read()
        for line in self._narrator.tell(fresh, self._world.ledgers.by_id):
            self._tell(line)
        self._screen.counters(self._crowd(fresh))
        return statuses

    def _crowd(self, fresh: Sequence[Delivery]) -> str:
        self._ended.update(
            "sent" if delivery.state is DeliveryState.SENT else "not sent"
            for delivery in fresh
            if delivery.state in FINAL_STATES and slot_of(delivery) not in self._told
        )
        sent, unsent = self._ended["sent"], self._ended["not sent"]
        return (
            f"{moment(self._driver.now, WARSAW)}, the crowd: {self._changes} changes published, "
            f"{sent} messages sent, {unsent} not sent, {self._pending} waiting"
        )

    def _tell(self, line: Line) -> None:
        self._pace.wait()
        self._screen.story(line)
