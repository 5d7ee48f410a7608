/** The requests: the newest as they end, older ones page by page, and filters on both. */
import { useEffect, useState } from "react";
import { get, told } from "../api/http";
import type { Told } from "../api/http";
import type { Row } from "../api/live";
import { go } from "../router";
import { money, ms, number, time } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel } from "../ui/Sheet";

interface Page {
  requests: Row[];
  next: string | null;
}

const OUTCOMES = ["finished", "failed", "cancelled"];
const TIERS = ["local", "strong"];

export function Requests({ live, all }: { live: Row[]; all: boolean }) {
  const [outcome, setOutcome] = useState("");
  const [tier, setTier] = useState("");
  const [held, setHeld] = useState<Row[] | null>(null);
  const [pages, setPages] = useState<Page | null>(null);
  const [error, setError] = useState<Told | null>(null);
  const [loading, setLoading] = useState(false);
  const filter = new URLSearchParams({
    ...(outcome && { outcome }),
    ...(tier && { tier }),
  }).toString();

  const load = async (before: string | null, had: Row[]) => {
    setLoading(true);
    setError(null);
    try {
      const more = `${filter ? `&${filter}` : ""}${before ? `&before=${encodeURIComponent(before)}` : ""}`;
      const page = await get<Page>(`/monitoring/requests?limit=100${more}`);
      const known = new Set(had.map((one) => one.request_id));
      setPages({
        requests: [...had, ...page.requests.filter((one) => !known.has(one.request_id))],
        next: page.next,
      });
    } catch (fault) {
      setError(told(fault));
    }
    setLoading(false);
  };
  useEffect(() => {
    setPages(null);
    if (filter) void load(null, []);
    // A new filter is a new list.
  }, [filter]);

  const newest = (held ?? live).filter(
    (one) => (!outcome || one.outcome === outcome) && (!tier || one.tier === tier),
  );
  const known = new Set(newest.map((one) => one.request_id));
  const rows = pages
    ? [...newest, ...pages.requests.filter((one) => !known.has(one.request_id))]
    : newest;
  return (
    <Panel
      title="Requests"
      side={
        <div className="filters">
          <select
            aria-label="Outcome"
            value={outcome}
            onChange={(event) => setOutcome(event.target.value)}
          >
            <option value="">every outcome</option>
            {OUTCOMES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
          <select aria-label="Tier" value={tier} onChange={(event) => setTier(event.target.value)}>
            <option value="">every tier</option>
            {TIERS.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
          <button
            type="button"
            className="button small"
            aria-pressed={held !== null}
            onClick={() => setHeld(held ? null : live)}
          >
            {held ? "Go on" : "Hold still"}
          </button>
        </div>
      }
    >
      {error && <Notice error={error} />}
      <div className="grid-box" tabIndex={0} role="region" aria-label="Requests">
        <div className="rows">
          <div className="row head">
            <span>Ended</span>
            <span>Target</span>
            <span>Tier</span>
            <span className="n">Score</span>
            <span>{all ? "Caller" : "Door"}</span>
            <span className="n">First token</span>
            <span className="n">Took</span>
            <span className="n">Tokens</span>
            <span className="n">Cost</span>
          </div>
          {rows.map((row) => (
            <RequestRow key={row.request_id} row={row} all={all} />
          ))}
        </div>
      </div>
      {!rows.length && <p className="nothing">{loading ? "Looking…" : "No request like that."}</p>}
      {pages?.next !== null && (
        <p>
          <button
            type="button"
            className="button small"
            disabled={loading}
            onClick={() => void load(pages?.next ?? null, pages?.requests ?? [])}
          >
            Older requests
          </button>
        </p>
      )}
    </Panel>
  );
}

function RequestRow({ row, all }: { row: Row; all: boolean }) {
  const bad = row.outcome === "failed";
  return (
    <button
      type="button"
      className={`row${row.tier ? ` tier-${row.tier}` : ""}`}
      onClick={() => go(`/monitoring?request=${encodeURIComponent(row.request_id)}`)}
    >
      <span
        className={`state num ${bad ? "bad" : row.outcome === "finished" ? "good" : "warn"}`}
        title={row.outcome}
      >
        {time(row.at)}
      </span>
      <span title={row.target ?? ""}>
        {row.target || row.error || "–"}
        {row.fallbacks > 0 && <span className="hint"> after {row.fallbacks}</span>}
      </span>
      <span className="tier-word">{row.tier ?? "named"}</span>
      <span className="n">{number(row.score, 2)}</span>
      <span>{all ? row.caller : row.door}</span>
      <span className="n">{ms(row.first_token_ms)}</span>
      <span className="n">{ms(row.total_ms)}</span>
      <span className="n">{number(row.output_tokens)}</span>
      <span className="n">{costOf(row)}</span>
    </button>
  );
}

export function costOf({ cost }: Row): string {
  return typeof cost === "object" && cost ? money(cost.amount, cost.currency) : money(cost);
}
