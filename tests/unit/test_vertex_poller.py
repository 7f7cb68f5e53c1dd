from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from airflow_ml_provider.vertex import errors, states
from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.poller import Poller, plan, shared_poller
from airflow_ml_provider.vertex.retry import RetryPolicy
from airflow_ml_provider.vertex.steps import carry_out_async
from tests.unit.vertex_service import Service, unavailable

T0 = datetime(2026, 11, 20, tzinfo=UTC)


class Client:
    """The async client, answered from memory; its sleeps take no time."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.closed = False

    async def run(self, steps):
        async def send(request):
            return self.service.send(request)

        async def sleep(seconds):
            self.service.sleep(seconds)

        return await carry_out_async(steps, send, sleep)

    async def close(self):
        self.closed = True


def poller_of(service):
    calls = Calls(service.regions()[0], RetryPolicy(patience=0), service.clock)
    return Poller(Client(service), calls)


def watch(poller, name, interval=0.01):
    return poller.watch(name, T0, interval)


def test_a_few_jobs_are_read_one_by_one():
    assert plan([("2", T0), ("1", T0)]).since is None


def test_many_jobs_are_listed_and_the_oldest_is_read_by_itself():
    day = timedelta(days=1)
    waiting = [("old", T0 - 6 * day), *((str(n), T0 + timedelta(seconds=n)) for n in range(20))]
    reads = plan(waiting)
    assert reads.singly == ("old",)
    assert T0 - day < reads.since < T0


def test_a_thousand_jobs_take_few_reads(monkeypatch):
    service = Service()
    names = [service.add() for _ in range(1000)]

    def pages(request):
        first = int(request.params.get("pageToken", 0))
        jobs = list(service.jobs.values())[first : first + 100]
        more = {"nextPageToken": str(first + 100)} if first + 100 < 1000 else {}
        return {"customJobs": jobs, **more}

    monkeypatch.setattr(service, "_list", pages)

    async def one_round():
        poller = poller_of(service)
        watches = [watch(poller, name) for name in names]
        await asyncio.gather(*(w.news() for w in watches))
        reads = len(service.requests)
        await poller.close()
        return reads, {w.state for w in watches}

    reads, seen = asyncio.run(one_round())
    # Twice a minute at an interval of 30 seconds: at most 25 in a minute.
    assert reads <= 12
    assert seen == {states.RUNNING}


def test_a_job_that_the_list_leaves_out_is_read_by_itself():
    service = Service()
    names = [service.add(age=0) for _ in range(5)]
    service.list_lag = 1e9

    async def seen():
        poller = poller_of(service)
        watches = [watch(poller, name) for name in names]
        found = await asyncio.gather(*(w.news() for w in watches))
        await poller.close()
        return found

    assert asyncio.run(seen()) == [states.RUNNING] * 5


@pytest.mark.parametrize("error", [unavailable(), ValueError("a bug")])
def test_a_failed_look_is_told_to_all_and_the_next_one_follows(error):
    service = Service()
    names = [service.add() for _ in range(5)]
    service.script["list"] = [error]

    async def seen():
        poller = poller_of(service)
        watches = [watch(poller, name) for name in names]
        first = await asyncio.gather(*(w.news() for w in watches), return_exceptions=True)
        second = await asyncio.gather(*(w.news() for w in watches))
        await poller.close()
        return first, second

    first, second = asyncio.run(seen())
    assert all(isinstance(told, errors.Unavailable) for told in first)
    assert second == [states.RUNNING] * 5


def test_jobs_that_end_at_once_get_turns_to_have_their_logs_read():
    service = Service()
    names = [service.add(states.SUCCEEDED) for _ in range(40)]

    async def turns():
        poller = poller_of(service)
        watches = [watch(poller, name) for name in names]
        await asyncio.gather(*(w.news() for w in watches))
        await poller.close()
        return sorted(w.log_turn for w in watches)

    found = asyncio.run(turns())
    assert found[0] == pytest.approx(0, abs=0.5)
    # 20 a minute.
    assert sum(turn < 60 for turn in found) <= 21


def test_users_of_one_key_share_a_poller_which_is_closed_after_the_last():
    service = Service()
    made = []

    async def make():
        await asyncio.sleep(0.01)
        made.append(poller_of(service))
        return made[-1]

    async def use(seconds):
        async with shared_poller("key", make) as poller:
            await asyncio.sleep(seconds)
            assert not poller.client.closed
            return poller

    async def scene():
        cancelled = asyncio.create_task(use(5))
        users = [asyncio.create_task(use(0.05)) for _ in range(3)]
        await asyncio.sleep(0.001)
        # While the poller is being made.
        cancelled.cancel()
        await asyncio.gather(*users)
        first_closed = made[0].client.closed
        await use(0)
        return first_closed

    assert asyncio.run(scene())
    assert len(made) == 2


def test_a_poller_that_can_not_be_made_fails_its_users_and_is_tried_again():
    attempts = []

    async def make():
        attempts.append(1)
        raise RuntimeError("no connection")

    async def use():
        async with shared_poller("key", make):
            raise AssertionError("there is no poller")

    async def scene():
        results = await asyncio.gather(use(), use(), return_exceptions=True)
        with pytest.raises(RuntimeError):
            await use()
        return results

    assert [str(error) for error in asyncio.run(scene())] == ["no connection"] * 2
    assert len(attempts) == 2


def test_a_wait_for_news_that_is_cut_short_loses_nothing():
    service = Service()
    name = service.add()

    async def scene():
        poller = poller_of(service)
        seen = watch(poller, name, interval=0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await seen.news()
        state = await seen.news()
        await poller.close()
        return state

    assert asyncio.run(scene()) == states.RUNNING
