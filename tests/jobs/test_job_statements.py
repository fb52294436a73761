"""Statements that are repeated every second: they must not read all rows of a large folder."""

import sqlite3
from contextlib import closing

import pytest

from cloudburst.jobs.admission import check_bytes
from cloudburst.jobs.database import upgrade
from cloudburst.jobs.event_log import find_video
from cloudburst.jobs.job_rows import count_active, read_months, read_page, spent_since
from cloudburst.jobs.models import JobLimits, JobState


def plan_of(work):
    """Return what SQLite does for each statement of a function."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        upgrade(connection)
        statements = []
        connection.set_trace_callback(statements.append)
        work(connection)
        connection.set_trace_callback(None)
        return [
            step
            for statement in statements
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]


@pytest.mark.parametrize(
    "work",
    [
        lambda c: check_bytes(c, "a", 1, JobLimits()),
        lambda c: count_active(c, "a"),
        lambda c: spent_since(c, "a", 0.0),
        lambda c: read_months(c, "a"),
    ],
)
def test_what_an_owner_has_is_computed_from_an_index(work):
    steps = [step for step in plan_of(work) if "jobs" in step]
    assert steps
    assert all("USING COVERING INDEX jobs_of_" in step for step in steps)


@pytest.mark.parametrize("states", [(), (JobState.COMPLETE, JobState.FAILED)])
def test_a_part_of_the_list_is_read_without_the_other_jobs_of_the_owner(states):
    steps = plan_of(
        lambda c: read_page(
            c, owner="a", states=states, search="x", metadata={}, before=None, limit=50
        )
    )
    assert "SEARCH jobs USING INDEX jobs_of_owner (owner=?)" in steps
    months = ["USE TEMP B-TREE FOR GROUP BY"]
    assert [step for step in steps if "TEMP B-TREE" in step] == months


def test_a_video_is_found_without_the_other_events_of_its_job():
    steps = plan_of(lambda c: find_video(c, "j", "a"))
    assert steps == ["SEARCH events USING INDEX events_of_outcomes (job=? AND scene=?)"]
