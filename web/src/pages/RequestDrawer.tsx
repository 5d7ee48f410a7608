/** One request: every fact, and its attempts on one line of time. */
import type { Attempt, Row } from "../api/live";
import { Dialog } from "../ui/Dialog";
import { dateTime, ms, number } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Facts } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";
import { costOf } from "./Requests";

export function RequestDrawer({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, error } = useLoad<Row>(`/monitoring/requests/${encodeURIComponent(id)}`);
  return (
    <Dialog drawer title="Request" label="A request" onClose={onClose}>
      <p className="mono hint name-cell">{id}</p>
      {error && <Notice error={error} />}
      {data && <Told row={data} />}
      {!data && !error && <p className="nothing">Looking it up…</p>}
    </Dialog>
  );
}

function Told({ row }: { row: Row }) {
  const facts: [string, string][] = [
    ["Outcome", row.error ? `${row.outcome}: ${row.error}` : row.outcome],
    ["Ended", dateTime(row.at)],
    ["Caller", row.caller],
    ["Door", row.door],
    ["Target", row.target ?? "–"],
    ["Tier", row.tier ?? "named by the caller"],
    ["Score", number(row.score, 3)],
    ["Domain", row.domain ?? "–"],
    ["Tokens in", number(row.input_tokens)],
    ["Tokens out", number(row.output_tokens)],
    ["Cost", costOf(row)],
    ["Classifier", ms(row.classifier_ms)],
    ["Queue", ms(row.queue_ms)],
    ["First token", ms(row.first_token_ms)],
    ["In all", ms(row.total_ms)],
    ["Tokens a second", number(row.tokens_per_s, 1)],
  ];
  return (
    <>
      {row.reason && <p>{row.reason}</p>}
      <section className="timeline" aria-label="Attempts">
        {(row.attempts ?? []).map((attempt, at) => (
          <Bar key={at} attempt={attempt} total={row.total_ms ?? 1} />
        ))}
        {!row.attempts?.length && <p className="nothing">Nobody was asked.</p>}
      </section>
      <Facts facts={facts} />
    </>
  );
}

function Bar({ attempt, total }: { attempt: Attempt; total: number }) {
  const whole = Math.max(total, attempt.ended_ms ?? 0, 1);
  const ended = attempt.ended_ms ?? whole;
  const first = attempt.first_ms ?? ended;
  const place = (from: number, to: number) => ({
    left: `${(from / whole) * 100}%`,
    width: `${((to - from) / whole) * 100}%`,
  });
  const failed = attempt.outcome !== "finished" && attempt.outcome !== "cancelled";
  return (
    <div className="attempt">
      <header>
        <span>
          {attempt.target}
          {attempt.hedge && <span className="hint"> beside the first</span>}
        </span>
        <span className="num hint">{ms(ended - attempt.began_ms)}</span>
      </header>
      <div className="bar" role="img" aria-label={`from ${ms(attempt.began_ms)} to ${ms(ended)}`}>
        <span className={failed ? "fail" : "wait"} style={place(attempt.began_ms, first)} />
        {first < ended && <span className={failed ? "fail" : "flow"} style={place(first, ended)} />}
      </div>
      {failed && <p className="hint">{attempt.error ?? attempt.outcome}</p>}
    </div>
  );
}
