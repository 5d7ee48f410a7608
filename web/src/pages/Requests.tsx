/** The requests: the newest as they end, older ones page by page, and filters on both. */
import { memo, useEffect, useMemo, useRef, useState } from "react";
import { get, told } from "../api/http";
import type { Told } from "../api/http";
import type { Row } from "../api/live";
import { go } from "../router";
import { money, ms, number, plural, time } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel } from "../ui/Sheet";
import { Window } from "../ui/Window";

interface Page {
  requests: Row[];
  next: string | null;
}

const OUTCOMES = ["finished", "failed", "cancelled"];
const TIERS = ["local", "strong"];

/** Rows that came while the page stands; more are read from the ledger again. */
const MOST_LIVE = 1000;
const PAGE = 100;
const ROW_PX = 37;

export function Requests({ live, all }: { live: Row[]; all: boolean }) {
  const [outcome, setOutcome] = useState("");
  const [tier, setTier] = useState("");
  const [until, setUntil] = useState("");
  const [held, setHeld] = useState(false);
  const newest = useNewest(live, held);
  const filter = new URLSearchParams({
    ...(outcome && { outcome }),
    ...(tier && { tier }),
    ...(until && { until: String(new Date(until).getTime() / 1000) }),
  }).toString();
  const { pages, error, loading, more } = usePages(filter);

  const rows = useMemo(() => {
    const fits = (one: Row) =>
      !until && (!outcome || one.outcome === outcome) && (!tier || one.tier === tier);
    const fresh = newest.filter(fits);
    const known = new Set(fresh.map((one) => one.request_id));
    return [...fresh, ...pages.requests.filter((one) => !known.has(one.request_id))];
  }, [newest, pages, outcome, tier, until]);
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
          <label className="until">
            <span className="hint">before</span>
            <input
              type="datetime-local"
              aria-label="Ended before"
              value={until}
              onChange={(event) => setUntil(event.target.value)}
            />
          </label>
          <button
            type="button"
            className="button small"
            aria-pressed={held}
            onClick={() => setHeld(!held)}
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
          <Window
            rows={rows}
            height={ROW_PX}
            draw={(row) => <RequestRow key={row.request_id} row={row} all={all} />}
          />
        </div>
      </div>
      {!rows.length && (
        <p className="nothing">
          {loading ? "Looking…" : filter ? "No request like that." : "Nobody asked anything yet."}
        </p>
      )}
      {pages.next !== null && <Older key={pages.next} loading={loading} more={more} />}
      {pages.next === null && rows.length > 0 && !loading && (
        <p className="hint">{plural(rows.length, "request")}, and none before.</p>
      )}
    </Panel>
  );
}

/** What came while the page stands, so that no row is missing between it and the ledger's pages. */
function useNewest(live: Row[], held: boolean): Row[] {
  const [newest, setNewest] = useState<Row[]>(live);
  useEffect(() => {
    if (held) return;
    setNewest((had) => {
      const known = new Set(had.map((one) => one.request_id));
      const came = live.filter((one) => !known.has(one.request_id));
      return came.length ? [...came, ...had].slice(0, MOST_LIVE) : had;
    });
  }, [live, held]);
  return newest;
}

/** The ledger's pages, from the newest on; a new filter is a new list. */
function usePages(filter: string) {
  const [pages, setPages] = useState<Page>({ requests: [], next: null });
  const [error, setError] = useState<Told | null>(null);
  const [loading, setLoading] = useState(true);
  const list = useRef<AbortController>(new AbortController());
  const read = async (before: string | null, signal: AbortSignal) => {
    setLoading(true);
    setError(null);
    const mark = before ? `&before=${encodeURIComponent(before)}` : "";
    try {
      const page = await get<Page>(
        `/monitoring/requests?limit=${PAGE}${filter && `&${filter}`}${mark}`,
        signal,
      );
      // Asked for twice, by the way down and by the button, it is added once.
      setPages((had) =>
        had.next === before
          ? { requests: [...had.requests, ...page.requests], next: page.next }
          : had,
      );
    } catch (fault) {
      if (!signal.aborted) setError(told(fault));
    }
    if (!signal.aborted) setLoading(false);
  };
  useEffect(() => {
    list.current = new AbortController();
    setPages({ requests: [], next: null });
    void read(null, list.current.signal);
    return () => list.current.abort();
  }, [filter]);
  return { pages, error, loading, more: () => void read(pages.next, list.current.signal) };
}

/** The next page comes by itself where the list ends; the button is for whoever does not scroll. */
function Older({ loading, more }: { loading: boolean; more: () => void }) {
  const end = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    if (!end.current) return;
    const watcher = new IntersectionObserver(
      (seen) => {
        if (!seen.some((one) => one.isIntersecting)) return;
        watcher.disconnect();
        more();
      },
      { rootMargin: "600px" },
    );
    watcher.observe(end.current);
    return () => watcher.disconnect();
    // A new end has a new key.
  }, []);
  return (
    <p ref={end}>
      <button type="button" className="button small" disabled={loading} onClick={more}>
        Older requests
      </button>
    </p>
  );
}

const RequestRow = memo(function RequestRow({ row, all }: { row: Row; all: boolean }) {
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
});

export function costOf({ cost }: Row): string {
  return typeof cost === "object" && cost ? money(cost.amount, cost.currency) : money(cost);
}
