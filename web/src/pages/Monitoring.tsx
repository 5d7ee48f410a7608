/** What happens now, live, and every request with what led to it. */
import { useEffect, useMemo, useState } from "react";
import { watch } from "../api/live";
import type { Snapshot, TargetState } from "../api/live";
import type { Told } from "../api/http";
import { go, useQuery } from "../router";
import { Chart, Keys } from "../ui/Chart";
import type { Line } from "../ui/Chart";
import { money, ms, number, share, short } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Figure, Panel, Sheet } from "../ui/Sheet";
import { Days } from "./Days";
import { RequestDrawer } from "./RequestDrawer";
import { Requests } from "./Requests";

const TRAFFIC: Line[] = [
  { name: "a second", colour: "--local", fill: true },
  { name: "failed", colour: "--bad" },
];
const TOKENS: Line[] = [{ name: "tokens out a second", colour: "--named", fill: true }];
const FIRST: Line[] = [
  { name: "p50", colour: "--local" },
  { name: "p95", colour: "--strong" },
];
const POINT_S = 5;
const TIERS = ["local", "strong", "named"];

export default function Monitoring() {
  const [now, setNow] = useState<Snapshot | null>(null);
  const [trouble, setTrouble] = useState<Told | null>(null);
  const request = useQuery("request");
  useEffect(() => watch({ snapshot: setNow, trouble: setTrouble }), []);
  return (
    <Sheet
      title="Monitoring"
      about={
        now?.scope === "own"
          ? "Your own requests, live. The operator sees those of all callers."
          : "Every request, live."
      }
    >
      {trouble && <Notice error={trouble} />}
      {now ? (
        <Live now={now} />
      ) : (
        !trouble && <p className="nothing">Waiting for the first figures…</p>
      )}
      <Requests live={now?.requests ?? []} all={now?.scope === "all"} />
      {request && <RequestDrawer id={request} onClose={() => go("/monitoring", true)} />}
    </Sheet>
  );
}

function Live({ now }: { now: Snapshot }) {
  const { rates, first_token_ms: first, totals } = now;
  const seconds = useMemo(() => now.history.map((one) => one.at), [now.history]);
  const traffic = useMemo(
    () => [
      seconds,
      now.history.map((one) => one.requests / POINT_S),
      now.history.map((one) => one.errors / POINT_S),
    ],
    [now.history, seconds],
  );
  const tokens = useMemo(
    () => [seconds, now.history.map((one) => one.output_tokens / POINT_S)],
    [now.history, seconds],
  );
  const firsts = useMemo(
    () => [
      seconds,
      now.history.map((one) => one.first_token_p50_ms),
      now.history.map((one) => one.first_token_p95_ms),
    ],
    [now.history, seconds],
  );
  return (
    <>
      <dl className="figures">
        <Figure
          name="Requests"
          value={short(rates.requests_per_s)}
          unit="a second"
          under={`${number(totals.requests)} in all`}
        />
        <Figure
          name="Tokens out"
          value={short(rates.output_tokens_per_s)}
          unit="a second"
          under={`${short(rates.input_tokens_per_s)} in`}
        />
        <Figure
          name="First token"
          value={ms(first.p50)}
          under={<Tails p95={first.p95} p99={first.p99} />}
        />
        <Figure
          name="Errors"
          value={share(totals.requests ? totals.errors / totals.requests : 0, 1)}
          under={`${number(totals.errors)} failed, ${number(totals.cancelled)} stopped`}
          bad={rates.errors_per_s > 0}
        />
        <Figure
          name="In flight"
          value={number(now.in_flight)}
          under={now.workers ? `${number(now.workers)} worker${now.workers > 1 ? "s" : ""}` : null}
        />
        {now.queue && (
          <Figure
            name="Jobs waiting"
            value={number(now.queue.waiting)}
            under={`${number(now.queue.running)} running`}
          />
        )}
      </dl>
      <div className="three-up">
        <Panel title="Requests" side={<Keys lines={TRAFFIC} />}>
          <Chart label="Requests" lines={TRAFFIC} data={traffic} say={short} />
        </Panel>
        <Panel title="Tokens out a second">
          <Chart label="Tokens" lines={TOKENS} data={tokens} say={short} />
        </Panel>
        <Panel title="Time to first token" side={<Keys lines={FIRST} />}>
          <Chart
            label="Time to first token"
            lines={FIRST}
            data={firsts}
            say={(value) => ms(value)}
          />
        </Panel>
      </div>
      <div className="two-up">
        <Panel
          title="Which line they took"
          side={<span className="hint">the last {now.window_s} s</span>}
        >
          <Tiers tiers={now.tiers} />
        </Panel>
        <Panel
          title="Money"
          side={
            <span className="hint">
              {now.money?.saved != null &&
                `saved ${money(now.money.saved, now.money.currency)} against always strong`}
            </span>
          }
        >
          {now.money && <Days days={now.money.days} currency={now.money.currency} />}
        </Panel>
      </div>
      {now.targets && (
        <Panel title="Targets" side={<span className="hint">the last {now.window_s} s</span>}>
          <Targets targets={now.targets} />
        </Panel>
      )}
      {!!now.queue?.jobs.length && (
        <Panel title="Waiting jobs">
          <div className="grid-box">
            <table className="plain stacked">
              <thead>
                <tr>
                  <th className="n">Place</th>
                  <th>Job</th>
                  <th>Target</th>
                  <th className="n">Wait</th>
                </tr>
              </thead>
              <tbody>
                {now.queue.jobs.map((job) => (
                  <tr key={job.id}>
                    <td data-name="Place" className="n">
                      {number(job.position)}
                    </td>
                    <td data-name="Job" className="mono name-cell">
                      {job.id}
                    </td>
                    <td data-name="Target" className="name-cell">
                      {job.target ?? "–"}
                    </td>
                    <td data-name="Wait" className="n">
                      {job.wait_s == null ? "–" : ms(job.wait_s * 1000)}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </Panel>
      )}
    </>
  );
}

function Tails({ p95, p99 }: { p95: number | null; p99: number | null }) {
  return (
    <>
      <span className="tail">p95 {ms(p95)}</span> <span className="tail">p99 {ms(p99)}</span>
    </>
  );
}

export function Tiers({ tiers }: { tiers: Record<string, number> }) {
  const names = [...new Set([...TIERS, ...Object.keys(tiers)])];
  const all = names.reduce((sum, name) => sum + (tiers[name] ?? 0), 0);
  return (
    <div className="lines">
      {names.map((name) => {
        const part = all ? (tiers[name] ?? 0) / all : 0;
        return (
          <div key={name} className={`line-row tier-${name}`}>
            <span className="tier-word">{name}</span>
            <div className="rail">
              <span style={{ transform: `scaleX(${part})` }} />
            </div>
            <span className="num">
              {number(tiers[name] ?? 0)} · {share(all ? part : null)}
            </span>
          </div>
        );
      })}
    </div>
  );
}

const BREAKERS = {
  closed: ["good", "well"],
  open: ["bad", "rests"],
  half_open: ["warn", "one attempt finds out"],
} as const;

/** A target that gave no answers is not known to be well. */
function stateOf(one: TargetState): readonly [string, string] {
  if (one.breaker === "closed" && one.requests <= one.errors) return ["", "no answers"];
  return BREAKERS[one.breaker] ?? ["", one.breaker];
}

function Targets({ targets }: { targets: TargetState[] }) {
  if (!targets.length) return <p className="nothing">No target was asked yet.</p>;
  return (
    <div className="grid-box">
      <table className="plain stacked">
        <thead>
          <tr>
            <th>Target</th>
            <th>State</th>
            <th className="n">Requests</th>
            <th className="n">Errors</th>
            <th className="n">First token</th>
          </tr>
        </thead>
        <tbody>
          {targets.map((one) => {
            const [kind, word] = stateOf(one);
            return (
              <tr key={one.target}>
                <td data-name="Target" className="name-cell">
                  {one.target}
                </td>
                <td data-name="State">
                  <span className={`state ${kind}`}>
                    {word}
                    {one.rests_s != null && ` for ${number(Math.ceil(one.rests_s))} s`}
                  </span>
                  {one.error && <div className="hint">{one.error}</div>}
                </td>
                <td data-name="Requests" className="n">
                  {number(one.requests)}
                </td>
                <td data-name="Errors" className="n">
                  {number(one.errors)}
                </td>
                <td data-name="First token" className="n">
                  {ms(one.first_token_ms)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
