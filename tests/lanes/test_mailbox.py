"""The mailbox's queues, without an actor around them."""

import asyncio

from tclap.lanes.mailbox import Mailbox


def test_each_worker_of_a_lane_takes_each_job_in_order_and_waits_for_it():
    async def scene():
        mailbox = Mailbox()
        early = asyncio.create_task(mailbox.take("lane", 0))
        await asyncio.sleep(0)
        assert not early.done()
        await mailbox.put("other", "not this one")
        await mailbox.put("lane", "a")
        await mailbox.put("lane", None)
        assert await early == "a"
        assert [await mailbox.take("lane", n) for n in (0, 1)] == ["a", None]

    asyncio.run(scene())


def test_reports_come_in_order_and_none_where_there_is_none():
    async def scene():
        mailbox = Mailbox()
        assert await mailbox.next_report("lane", 0.01) is None
        for n in range(3):
            await mailbox.report("lane", {"n": n})
        assert [(await mailbox.next_report("lane", 1))["n"] for _ in range(3)] == [0, 1, 2]

    asyncio.run(scene())


def test_news_are_the_last_word_of_each_lane_and_the_notes_once():
    async def scene():
        mailbox = Mailbox()
        await mailbox.say_progress("one", "abc", 1)
        await mailbox.say_progress("one", "abc", 2)
        await mailbox.note("features: 3 chunks")
        assert await mailbox.news() == ({"one": ("abc", 2)}, ["features: 3 chunks"])
        await mailbox.forget("one")
        assert await mailbox.news() == ({}, [])

    asyncio.run(scene())
