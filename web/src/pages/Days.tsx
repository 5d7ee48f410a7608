/** Money by day: what was paid, before what the strong tier alone would have cost. */
import { date, money } from "../ui/format";

interface Day {
  day: string;
  cost: string;
  always_strong?: string | null;
}

const WIDTH = 480;
const HEIGHT = 130;
const FOOT = 18;

export function Days({ days, currency }: { days: Day[]; currency: string }) {
  const shown = days.slice(-30);
  const highest = Math.max(...shown.map((one) => Math.max(Number(one.cost), Number(one.always_strong ?? 0))), 1e-9);
  const step = WIDTH / Math.max(shown.length, 7);
  const tall = (value: number) => Math.max(value > 0 ? 1.5 : 0, (value / highest) * (HEIGHT - FOOT - 14));
  const base = HEIGHT - FOOT;
  return (
    <svg className="svg-chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={said(shown, currency)}>
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
            <rect x={x} y={base - tall(strong)} width={width} height={tall(strong)} rx="2" fill="var(--strong)" opacity="0.28" />
            <rect x={x} y={base - tall(cost)} width={width} height={tall(cost)} rx="2" fill="var(--local)" />
            {(at === 0 || at === shown.length - 1) && (
              <text x={x + width / 2} y={HEIGHT - 3} textAnchor={at === 0 && shown.length > 1 ? "start" : "middle"}>
                {one.day.slice(5)}
              </text>
            )}
          </g>
        );
      })}
    </svg>
  );
}

function said(days: Day[], currency: string): string {
  return `Money by day: ${days.map((one) => `${one.day} ${money(one.cost, currency)}`).join(", ")}`;
}
