"""Pieces of the queue's statements, and the counters that tell a place in it."""

# Statements are put together of our own words only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence

from gateway.jobs import order
from gateway.jobs.drivers import Work

HOOK = """hook_state = CASE WHEN webhook IS NULL THEN NULL ELSE 'pending' END,
  hook_at = CASE WHEN webhook IS NULL THEN NULL ELSE CAST(:now AS DOUBLE PRECISION) END"""
MINE = """id = :id AND owner = :owner AND status = 'processing'
  AND lease_until >= CAST(:now AS DOUBLE PRECISION)"""
RESTS = """EXISTS (SELECT 1 FROM job_rests WHERE job_rests.app_id = jobs.app_id
  AND until > CAST(:now AS DOUBLE PRECISION))"""
BACK = "status = 'queued', owner = NULL, lease_until = NULL, started_at = NULL"
# Of those that are held the last in rank: there is an index of it, and the priority is its
# application's, so it has the last tag, too.
TAG = """(SELECT CASE WHEN max(tag) + CAST(:spread AS DOUBLE PRECISION)
  > CAST(:now AS DOUBLE PRECISION) THEN max(tag) + CAST(:spread AS DOUBLE PRECISION)
  ELSE CAST(:now AS DOUBLE PRECISION) END FROM (
    SELECT max(tag) AS tag FROM jobs WHERE app_id = CAST(:app_id AS VARCHAR) AND status = 'queued'
    UNION ALL SELECT tag FROM (SELECT tag FROM jobs WHERE app_id = CAST(:app_id AS VARCHAR)
      AND status = 'held' ORDER BY rank DESC, seq DESC LIMIT 1) AS held) AS waiting)"""
# A tag is looked up twice: a lookup in an index costs less than a second statement.
INSERT = f"""INSERT INTO jobs (id, app_id, app_name, type, door, status, priority, body, question,
  created_at, expires_at, tag, rank, claims, written, webhook, hook_tries, idem_key, digest)
VALUES (:id, :app_id, :app_name, :type, :door, CASE WHEN EXISTS (SELECT 1 FROM job_rests
    WHERE app_id = CAST(:app_id AS VARCHAR) AND until > CAST(:now AS DOUBLE PRECISION))
  THEN 'held' ELSE 'queued' END, :priority, :body, :question,
  :now, :expires_at, {TAG}, {TAG} - CAST(:ahead AS DOUBLE PRECISION), 0, 0, :webhook, 0,
  :idem_key, :digest)
ON CONFLICT (app_id, idem_key) DO NOTHING RETURNING rank, status"""
# Each by its own partial index, which is as short as what it finds.
LIVE = """CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE status = 'queued')
  OR EXISTS (SELECT 1 FROM jobs WHERE status = 'processing')
  OR EXISTS (SELECT 1 FROM jobs WHERE status = 'held')
  OR EXISTS (SELECT 1 FROM jobs WHERE hook_at IS NOT NULL) THEN 1 ELSE 0 END"""
KNOWN = "SELECT id, digest FROM jobs WHERE app_id = :app_id AND idem_key = :idem_key"


def count(jobs: Sequence[order.Move]) -> Work[int]:
    """Counts jobs in or out; returns how many wait now."""
    values: dict[str, object] = {}
    rows: list[str] = []
    for number, ((level, bucket, label), step) in enumerate(order.changes(jobs)):
        rows.append(f"(:l{number}, :b{number}, :t{number}, :n{number})")
        values.update(
            {f"l{number}": level, f"b{number}": bucket, f"t{number}": label, f"n{number}": step}
        )
    waiting = 0
    # SQLite takes 32766 values in a statement.
    for start in range(0, len(rows), 2000):
        part = {
            f"{letter}{number}": values[f"{letter}{number}"]
            for number in range(start, min(start + 2000, len(rows)))
            for letter in "lbtn"
        }
        found = yield (
            "INSERT INTO job_counts (level, bucket, label, n) VALUES "
            + ", ".join(rows[start : start + 2000])
            + " ON CONFLICT (level, bucket, label) DO UPDATE SET n = job_counts.n + excluded.n"
            " RETURNING level, n",
            part,
        )
        waiting += sum(int(row["n"]) for row in found if row["level"] == order.ALL)
    return waiting
