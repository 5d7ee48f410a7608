"""A ledger with as many rows as wished, made by the database itself: for what reads it.

SQLite only. The rows are spread over ninety days, rise with time, and fail, are stopped, come from
twenty applications and take both tiers as a gateway's do; one application is rare.
"""

from __future__ import annotations

import time

from sqlalchemy import text

from gateway.ledger.rows import DAY_MS
from gateway.ledger.totals import rebuild
from gateway.store.database import Database

DAYS_BACK = 90
RARE = "app-rare"
"""One request in 100,000 is its."""

_FILL = text(
    """
    INSERT INTO ledger (
      id, writer, at, day, request_id, number, answered, caller_id, caller_name, door, route, tier,
      provider, model, outcome, error, hedge, cache_hit, input_tokens, cached_tokens, output_tokens,
      cost_nano, priced_on, local_nano, strong_nano, first_ms, total_ms, score, classifier_version,
      reason, estimated
    )
    WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :rows),
    drawn AS (
      SELECT n, :now - (:rows - n) * :step AS at, (n * 2654435761) % 1000 / 1000.0 AS score,
        (n * 40503) % 997 AS luck
      FROM counted
    ),
    ended AS (
      SELECT *, CASE WHEN score < 0.4 THEN 'strong' ELSE 'local' END AS tier,
        CASE WHEN luck < 12 THEN 'failed' WHEN luck < 30 THEN 'cancelled' ELSE 'finished' END
        AS end,
        CASE WHEN n % 100000 = 77 THEN :rare ELSE 'app-' || (n % 20) END AS app
      FROM drawn
    )
    SELECT n << 20, 1, at, at / :day_ms, printf('%024x', n), 1, end = 'finished',
      app, 'Application ' || substr(app, 5), 'openai', 'auto', tier,
      CASE tier WHEN 'strong' THEN 'openai' ELSE 'local' END,
      CASE tier WHEN 'strong' THEN 'gpt-4o' ELSE 'smollm2:135m' END,
      end, CASE end WHEN 'failed' THEN 'timeout' END, 0, 0, 300 + luck, 0, 40 + luck % 200,
      CASE tier WHEN 'strong' THEN 3000000 + luck * 1000 ELSE 0 END, '2026-11-21',
      0, 3000000 + luck * 1000, 90 + luck, 400 + luck * 3, score, 'made',
      'The classifier scored it ' || printf('%.2f', score) || ' and chose ' || tier || '.', 0
    FROM ended
    """
)


async def fill(database: Database, rows: int, days: int = DAYS_BACK) -> None:
    """Into a ledger that is empty; the totals of its days, too."""
    given = {
        "rows": rows,
        "now": int(time.time() * 1000),
        "step": days * DAY_MS // rows,
        "day_ms": DAY_MS,
        "rare": RARE,
    }
    async with database.begin() as connection:
        await connection.execute(_FILL, given)
        await rebuild(connection)
