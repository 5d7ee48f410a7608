/** Why an answer came from where it came: the score against the threshold, the attempts, the times. */
import { useEffect, useRef } from "react";
import { follow } from "../router";
import { signedIn } from "../api/gateway";
import { money, ms, number } from "../ui/format";
import type { Answer } from "./model";

export function Why({ answer }: { answer: Answer }) {
  const { route, usage } = answer;
  const times = route?.milliseconds;
  const rows: [string, string][] = [
    ["Domain", route?.domain ?? "–"],
    ["Tokens in", number(usage?.input_tokens)],
    ["Tokens out", number(usage?.output_tokens)],
    ...(usage?.cached_tokens
      ? [["Of them cached", number(usage.cached_tokens)] as [string, string]]
      : []),
    ...(usage?.reasoning_tokens
      ? [["For thinking", number(usage.reasoning_tokens)] as [string, string]]
      : []),
    ["Cost", answer.cost ? money(answer.cost.amount, answer.cost.currency) : "no price known"],
    ["Classifier", ms(times?.classifier)],
    ...(times?.queue ? [["In the queue", ms(times.queue)] as [string, string]] : []),
    ["First token", ms(times?.first_token ?? answer.first)],
    ["In all", ms(times?.total)],
    ["Tokens a second", number(answer.pace, 1)],
    ["Ended", answer.phase === "stopped" ? "stopped by you" : (answer.finish ?? "–")],
  ];
  const failed = route?.fallbacks ?? answer.steps;
  const id = route?.request_id ?? answer.id;
  const host = useRef<HTMLElement>(null);
  useEffect(() => host.current?.scrollIntoView({ block: "nearest" }), []);
  return (
    <section ref={host} className="why" aria-label="Why this answer came from there">
      {route?.reason && <p>{route.reason}</p>}
      {route?.score != null && (
        <Gauge score={route.score} threshold={thresholdIn(route.reason)} tier={route.tier} />
      )}
      {failed.length > 0 && (
        <ol className="steps">
          {failed.map((step, at) => (
            <li key={at}>
              <span>
                {step.target}
                <span className="hint">{step.reason}</span>
              </span>
            </li>
          ))}
          {route?.target && answer.text && <li className="last">{route.target} answered</li>}
        </ol>
      )}
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <p className="hint">
        Request <span className="mono">{id}</span>
        {signedIn().caller.admin && (
          <>
            {" · "}
            <a href={`/monitoring?request=${encodeURIComponent(id)}`} onClick={follow}>
              its timeline
            </a>
          </>
        )}
      </p>
    </section>
  );
}

/** The threshold stands in the reason's sentence only. */
export function thresholdIn(reason: string | null | undefined): number | null {
  const found = /threshold (\d(?:\.\d+)?)/.exec(reason ?? "");
  return found ? Number(found[1]) : null;
}

const WIDTH = 360;

/** From 0, all to the strong line, to 1, all to the local one. */
function Gauge({
  score,
  threshold,
  tier,
}: {
  score: number;
  threshold: number | null;
  tier?: string | null | undefined;
}) {
  const x = (value: number) => 8 + value * (WIDTH - 16);
  const cut = threshold ?? 0.5;
  return (
    <svg
      className="gauge"
      viewBox={`0 0 ${WIDTH} 46`}
      role="img"
      aria-label={`Score ${number(score, 2)}${threshold === null ? "" : `, threshold ${number(threshold, 2)}`}`}
    >
      <path
        d={`M${x(0)} 20H${x(cut)}`}
        stroke="var(--strong)"
        strokeWidth="3"
        strokeLinecap="round"
        opacity="0.75"
      />
      <path
        d={`M${x(cut)} 20H${x(1)}`}
        stroke="var(--local)"
        strokeWidth="3"
        strokeLinecap="round"
        opacity="0.75"
      />
      {threshold !== null && (
        <>
          <path d={`M${x(cut)} 11V29`} stroke="var(--ink)" strokeWidth="2" strokeLinecap="round" />
          <text x={x(cut)} y="43" textAnchor="middle">
            threshold {number(threshold, 2)}
          </text>
        </>
      )}
      <circle
        cx={x(score)}
        cy="20"
        r="6.5"
        fill={tier === "strong" ? "var(--strong)" : "var(--local)"}
        stroke="var(--card)"
        strokeWidth="2.5"
      />
      <text x={x(score)} y="9" textAnchor={score > 0.9 ? "end" : score < 0.1 ? "start" : "middle"}>
        {number(score, 2)}
      </text>
      <text x={x(0)} y="43">
        hard
      </text>
      <text x={x(1)} y="43" textAnchor="end">
        easy
      </text>
    </svg>
  );
}
