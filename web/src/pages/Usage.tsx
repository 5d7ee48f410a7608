/** What was used, what it cost, and what one tier alone would have cost. */
import { useState } from "react";
import { ask, told } from "../api/http";
import type { Told } from "../api/http";
import { useSigned } from "../api/gateway";
import { save } from "../chat/TalkList";
import { date, money, number, share, short } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Figure, Panel, Sheet } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";
import { Days } from "./Days";
import { Tiers } from "./Monitoring";

interface Sum {
  requests: number;
  answers: number;
  cache_hits: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
  cost: string | null;
  unpriced: number;
  saved_by_cache: string | null;
}

interface Used {
  from: string;
  to: string;
  currency: string;
  total: Sum;
  rows: (Sum & Record<string, unknown>)[];
  truncated: boolean;
}

interface Compared {
  answers: number;
  spent: string | null;
  always_local: string | null;
  always_strong: string | null;
  always_strong_unpriced: number;
  saved: string | null;
  saved_share: number | null;
  tiers: Record<string, { answers: number; share: number | null }>;
}

interface Savings {
  currency: string;
  total: Compared;
}

const SPANS: [string, number][] = [
  ["7 days", 7],
  ["30 days", 30],
  ["90 days", 90],
  ["a year", 365],
];
const GROUPS: [string, string][] = [
  ["day", "by day"],
  ["model", "by model"],
  ["provider", "by provider"],
  ["route", "by route"],
  ["tier", "by tier"],
  ["app", "by app"],
];
const DAY_MS = 86_400_000;

export default function Usage() {
  const { caller } = useSigned();
  const [span, setSpan] = useState(30);
  const [by, setBy] = useState("day");
  const from = new Date(Date.now() - (span - 1) * DAY_MS).toISOString().slice(0, 10);
  const days = useLoad<Used>(`/usage?by=day&from=${from}`);
  const grouped = useLoad<Used>(by === "day" ? null : `/usage?by=${by}&from=${from}`);
  const savings = useLoad<Savings>(`/usage/savings?from=${from}`);
  const table = by === "day" ? days : grouped;
  return (
    <Sheet
      title="Usage"
      about={caller.admin ? "All callers together." : "What you used yourself."}
      tools={
        <div className="segments" role="radiogroup" aria-label="How far back">
          {SPANS.map(([word, value]) => (
            <label key={value}>
              <input
                type="radio"
                name="span"
                checked={span === value}
                onChange={() => setSpan(value)}
              />
              {word}
            </label>
          ))}
        </div>
      }
    >
      {days.error && <Notice error={days.error} />}
      {days.data && <Total used={days.data} savings={savings.data?.total ?? null} />}
      {days.data && (
        <div className="two-up">
          <Panel title="Money by day">
            <Days
              currency={days.data.currency}
              days={[...days.data.rows]
                .reverse()
                .map((row) => ({ day: String(row.day), cost: row.cost ?? "0" }))}
            />
          </Panel>
          <Panel title="Which line they took">
            {savings.data ? (
              <Tiers tiers={counts(savings.data.total)} />
            ) : savings.error ? (
              <Notice error={savings.error} />
            ) : null}
            {savings.data && <Against savings={savings.data} />}
          </Panel>
        </div>
      )}
      <Panel
        title="The books"
        side={<BooksTools by={by} onBy={setBy} from={from} admin={caller.admin} />}
      >
        {table.error && table.error !== days.error && <Notice error={table.error} />}
        {table.data && <Books used={table.data} by={by} />}
      </Panel>
    </Sheet>
  );
}

function counts(compared: Compared): Record<string, number> {
  return Object.fromEntries(
    Object.entries(compared.tiers).map(([name, one]) => [name, one.answers]),
  );
}

function Total({ used, savings }: { used: Used; savings: Compared | null }) {
  const { total, currency } = used;
  return (
    <dl className="figures">
      <Figure
        name="Cost"
        value={money(total.cost, currency)}
        under={total.unpriced ? `${number(total.unpriced)} without a known price` : null}
      />
      <Figure
        name="Saved"
        value={money(savings?.saved, currency)}
        under={
          savings?.saved_share != null
            ? `${share(savings.saved_share)} of always strong`
            : "against always strong"
        }
      />
      <Figure
        name="Requests"
        value={number(total.requests)}
        under={total.cache_hits ? `${number(total.cache_hits)} from the cache` : null}
      />
      <Figure name="Tokens in" value={short(total.input_tokens)} />
      <Figure name="Tokens out" value={short(total.output_tokens)} />
    </dl>
  );
}

function Against({ savings: { total, currency } }: { savings: Savings }) {
  if (total.always_strong === null) {
    return (
      <p className="hint">
        What the strong tier alone would have cost is not known: its models have no price here.
      </p>
    );
  }
  return (
    <p className="hint">
      Spent {money(total.spent, currency)}; always local {money(total.always_local, currency)},
      always strong {money(total.always_strong, currency)}.
    </p>
  );
}

function BooksTools({
  by,
  onBy,
  from,
  admin,
}: {
  by: string;
  onBy: (by: string) => void;
  from: string;
  admin: boolean;
}) {
  const [error, setError] = useState<Told | null>(null);
  const exported = async () => {
    setError(null);
    try {
      const response = await ask(`/usage?format=csv&by=${by}&from=${from}`, {
        headers: { Accept: "text/csv" },
      });
      save(`usage-by-${by}.csv`, await response.text(), "text/csv");
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <div className="filters">
      {error && <span className="wrong">{error.message}</span>}
      <select aria-label="Grouped" value={by} onChange={(event) => onBy(event.target.value)}>
        {GROUPS.filter(([value]) => admin || value !== "app").map(([value, word]) => (
          <option key={value} value={value}>
            {word}
          </option>
        ))}
      </select>
      <button type="button" className="button small" onClick={() => void exported()}>
        CSV
      </button>
    </div>
  );
}

function nameOf(row: Record<string, unknown>, by: string): string {
  if (by === "day") return date(String(row.day));
  if (by === "model") return `${String(row.provider)}/${String(row.model)}`;
  return String(row[by] || "named by the caller");
}

function Books({ used, by }: { used: Used; by: string }) {
  const title = by[0]?.toUpperCase() + by.slice(1);
  if (!used.rows.length) return <p className="nothing">Nothing was asked in this time.</p>;
  return (
    <div className="grid-box" tabIndex={0} role="region" aria-label="The books">
      <table className="plain stacked">
        <thead>
          <tr>
            <th>{title}</th>
            <th className="n">Requests</th>
            <th className="n">Tokens in</th>
            <th className="n">Tokens out</th>
            <th className="n">Cost</th>
          </tr>
        </thead>
        <tbody>
          {used.rows.map((row, at) => (
            <tr key={at}>
              <td data-name={title} className="name-cell">
                {nameOf(row, by)}
              </td>
              <td data-name="Requests" className="n">
                {number(row.requests)}
              </td>
              <td data-name="Tokens in" className="n">
                {number(row.input_tokens)}
              </td>
              <td data-name="Tokens out" className="n">
                {number(row.output_tokens)}
              </td>
              <td data-name="Cost" className="n">
                {row.cost === null ? "no price known" : money(row.cost, used.currency)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {used.truncated && (
        <p className="hint">
          There is more; the CSV has up to ten thousand rows, too: choose a shorter time.
        </p>
      )}
    </div>
  );
}
