"""One poller for all the jobs that wait on an event loop in one project and region.

A read per job would exceed the service's quota of 600 a minute with a few hundred jobs; a list returns the
states of a hundred.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from airflow_ml_provider.vertex import states
from airflow_ml_provider.vertex.async_client import AsyncVertexClient
from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.errors import NotFound, RequestError, Unavailable
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.logs import REPLAYS_A_MINUTE

log = logging.getLogger(__name__)

# So few jobs are read one by one.
SINGLY = 3
# Jobs that the list leaves out, since it is behind or since they are not Airflow's, are read one by one.
MOST_SINGLY = 20


@dataclass(frozen=True)
class Reads:
    """What to read in one round.

    :param singly: ids of jobs to get.
    :param since: list Airflow's jobs created from this moment on, or None for no list.
    """

    singly: tuple[str, ...]
    since: datetime | None


def plan(waiting: Sequence[tuple[str, datetime]]) -> Reads:
    """Return what to read for the jobs that are waited for.

    The oldest is read by itself: a job much older than the others would make the list long.

    :param waiting: id and creation time of each.
    """
    ordered = sorted(waiting, key=lambda pair: pair[1])
    if len(ordered) <= SINGLY:
        return Reads(tuple(job_id for job_id, _ in ordered), None)
    return Reads((ordered[0][0],), ordered[1][1] - timedelta(seconds=1))


class Watch:
    """Somebody's interest in one job; the poller tells it what it sees.

    :param name: the job's.
    :param created: when it was created.
    :param interval: seconds between two looks.
    """

    __slots__ = ("_error", "_news", "created", "interval", "log_turn", "name", "state")

    def __init__(self, name: str, created: datetime, interval: float) -> None:
        self.name = name
        self.created = created
        self.interval = interval
        self.state: str | None = None
        self.log_turn = 0.0
        self._error: RequestError | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def id(self) -> str:
        """The number at the end of the job's name."""
        return self.name.rsplit("/", 1)[-1]

    async def news(self) -> str:
        """Return the job's state once it was looked at again.

        :raises RequestError: the look failed.
        """
        try:
            await self._news
        finally:
            self._news = asyncio.get_running_loop().create_future()
        error, self._error = self._error, None
        if error is not None:
            raise error
        assert self.state is not None
        return self.state

    def tell(self, seen: str | RequestError) -> None:
        """Hand over a state, or why there is none."""
        if isinstance(seen, RequestError):
            self._error = seen
        else:
            self.state, self._error = seen, None
        if not self._news.done():
            self._news.set_result(None)


class Poller:
    """Looks at all watched jobs of one project and region together.

    It runs as long as there are watches, on the loop on which it was made.

    :param client: closed with the poller.
    :param calls: the operations in the project and region.
    """

    def __init__(self, client: AsyncVertexClient, calls: Calls) -> None:
        self.client = client
        self.calls = calls
        self._watches: dict[int, Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self._next_replay = 0.0

    def watch(self, name: str, created: datetime, interval: float) -> Watch:
        """Begin to watch a job; the first look comes after an interval."""
        watch = Watch(name, created, interval)
        self._watches[id(watch)] = watch
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="training-job-poller")
        return watch

    def leave(self, watch: Watch) -> None:
        """End a watch."""
        self._watches.pop(id(watch), None)

    async def close(self) -> None:
        """End the poller."""
        if self._task is not None:
            self._task.cancel()
        await self.client.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        took = 0.0
        while self._watches:
            interval = min(watch.interval for watch in self._watches.values())
            await asyncio.sleep(max(interval - took, interval / 2))
            watches = list(self._watches.values())
            began = loop.time()
            try:
                await self._look(watches)
            except RequestError as error:
                log.warning("Could not look at %d jobs, will look again: %s", len(watches), error)
                self._tell(watches, error)
            except Exception as error:
                # Whatever it is, nobody may wait for ever.
                log.exception("Could not look at %d jobs, will look again", len(watches))
                self._tell(watches, Unavailable("look at jobs", None, f"{type(error).__name__}: {error}"))
            took = loop.time() - began

    async def _look(self, watches: Sequence[Watch]) -> None:
        unseen: dict[str, list[Watch]] = {}
        for watch in watches:
            unseen.setdefault(watch.id, []).append(watch)
        reads = plan([(job_id, same[0].created) for job_id, same in unseen.items()])

        def tell(jobs: Sequence[Job]) -> None:
            for job in jobs:
                self._tell(unseen.pop(job.id, ()), job.state)

        if reads.since is not None:
            since = reads.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            filter = f'labels.airflow-key:* AND createTime>="{since}"'
            await self.client.run(self.calls.jobs(filter, states_only=True, on_page=tell))
        left_out = [job_id for job_id in unseen if job_id not in reads.singly]
        for job_id in (*reads.singly, *left_out[:MOST_SINGLY]):
            if job_id in unseen:
                found = await self._get(unseen[job_id][0].name)
                self._tell(unseen.pop(job_id), found.state if isinstance(found, Job) else found)
        # Those that could not be read this time are first next time.
        later = {id(watch) for same in unseen.values() for watch in same}
        self._watches = dict(sorted(self._watches.items(), key=lambda item: item[0] not in later))

    async def _get(self, name: str) -> Job | RequestError:
        try:
            return await self.client.run(self.calls.get(name))
        except NotFound as error:
            return error

    def _tell(self, watches: Sequence[Watch], seen: str | RequestError) -> None:
        for watch in watches:
            if isinstance(seen, str) and seen in states.TERMINAL and watch.state not in states.TERMINAL:
                watch.log_turn = self._log_turn()
            watch.tell(seen)

    def _log_turn(self) -> float:
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_replay)
        self._next_replay = turn + 60 / REPLAYS_A_MINUTE
        return turn - now


class _Shared:
    __slots__ = ("poller", "users")

    def __init__(self, poller: asyncio.Task[Poller]) -> None:
        self.poller = poller
        self.users = 0


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Shared]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_poller(
    key: Hashable, make: Callable[[], Coroutine[Any, Any, Poller]]
) -> AsyncIterator[Poller]:
    """Lend the running loop's poller for a key; it is made for the first user and closed after the last.

    :param key: project, region and credentials.
    :param make: makes one; only the first user's is called.
    """
    loop = asyncio.get_running_loop()
    pollers = _shared.setdefault(loop, {})
    shared = pollers.get(key)
    if shared is None:
        shared = pollers[key] = _Shared(loop.create_task(make()))
    shared.users += 1
    try:
        # One user that is cancelled must not take the others' poller away.
        yield await asyncio.shield(shared.poller)
    finally:
        shared.users -= 1
        if not shared.users:
            if pollers.get(key) is shared:
                del pollers[key]
            if shared.poller.done() and not shared.poller.cancelled() and not shared.poller.exception():
                await shared.poller.result().close()
            else:
                shared.poller.cancel()
