/** Money by day: what was paid, before what the strong tier alone would have cost. */
import { date, dayMonth, money } from "../ui/format";
import { Keys } from "../ui/Chart";
import type { Line } from "../ui/Chart";

interface Day {
  day: string;
  cost: string;
  always_strong?: string | null;
}

const LINES: Line[] = [
  { name: "spent", colour: "--local" },
  { name: "always strong", colour: "--strong" },
];
const WIDTH = 480;
const HEIGHT = 130;
const FOOT = 18;
const LEAST = 14;
const MOST = 90;
const DAY_MS = 86_400_000;

export function Days({ days, currency }: { days: Day[]; currency: string }) {
  const shown = everyDay(days).slice(-MOST);
  const highest = Math.max(
    ...shown.map((one) => Math.max(Number(one.cost), Number(one.always_strong ?? 0))),
  );
  if (highest <= 0)
    return <p className="nothing">Nothing cost anything, or no prices are known.</p>;
  const step = WIDTH / shown.length;
  const tall = (value: number) =>
    Math.max(value > 0 ? 1.5 : 0, (value / highest) * (HEIGHT - FOOT - 14));
  const base = HEIGHT - FOOT;
  const drawing = (
    <svg
      className="svg-chart scaled"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={said(shown, currency)}
    >
      <path className="axis" d={`M0 ${base}H${WIDTH}`} />
      <text x="0" y="10">
        {money(highest, currency)}
      </text>
      {shown.map((one, at) => {
        const width = Math.min(step * 0.62, 34);
        const x = at * step + (step - width) / 2;
        const strong = Number(one.always_strong ?? 0);
        const cost = Number(one.cost);
        return (
          <g key={one.day}>
            <title>{`${date(one.day)}: ${money(cost, currency)}${strong ? `, always strong ${money(strong, currency)}` : ""}`}</title>
            <rect
              x={x}
              y={base - tall(strong)}
              width={width}
              height={tall(strong)}
              rx="2"
              fill="var(--strong)"
              opacity="0.28"
            />
            <rect
              x={x}
              y={base - tall(cost)}
              width={width}
              height={tall(cost)}
              rx="2"
              fill="var(--local)"
            />
            {(at === 0 || at === shown.length - 1) && (
              <text x={at ? x + width : x} y={HEIGHT - 3} textAnchor={at ? "end" : "start"}>
                {dayMonth(one.day)}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
  if (!shown.some((one) => one.always_strong)) return drawing;
  return (
    <>
      {drawing}
      <Keys lines={LINES} />
    </>
  );
}

/** Days on which nothing was asked stand there, too, and so do some before the first. */
function everyDay(days: Day[]): Day[] {
  const known = new Map(days.map((one) => [one.day, one]));
  if (!days.length) return [];
  const times = days.map((one) => Date.parse(one.day));
  const last = Math.max(...times);
  const first = Math.min(...times, last - (LEAST - 1) * DAY_MS);
  const found: Day[] = [];
  for (let at = first; at <= last; at += DAY_MS) {
    const day = new Date(at).toISOString().slice(0, 10);
    found.push(known.get(day) ?? { day, cost: "0" });
  }
  return found;
}

function said(days: Day[], currency: string): string {
  return `Money by day: ${days
    .filter((one) => Number(one.cost) > 0)
    .map((one) => `${one.day} ${money(one.cost, currency)}`)
    .join(", ")}`;
}
