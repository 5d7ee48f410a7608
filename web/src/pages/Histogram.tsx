/** How the classifier scores what is asked: from hard on the left to easy on the right. */
import { number } from "../ui/format";

const WIDTH = 480;
const HEIGHT = 150;
const FOOT = 20;

export function Histogram({ bins, threshold }: { bins: number[]; threshold: number | null }) {
  const all = bins.reduce((sum, one) => sum + one, 0);
  if (!all) return <p className="nothing">Nothing was scored yet.</p>;
  const highest = Math.max(...bins);
  const step = WIDTH / bins.length;
  const base = HEIGHT - FOOT;
  const cut = threshold ?? 0.5;
  return (
    <svg
      className="svg-chart scaled"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={`Scores of ${number(all)} questions`}
    >
      {bins.map((count, at) => {
        const tall = count ? Math.max(2, (count / highest) * (base - 12)) : 0;
        const easy = (at + 0.5) / bins.length >= cut;
        return (
          <rect
            key={at}
            x={at * step + 1.5}
            y={base - tall}
            width={step - 3}
            height={tall}
            rx="2"
            fill={easy ? "var(--local)" : "var(--strong)"}
          >
            <title>{`${number(at / bins.length, 2)} to ${number((at + 1) / bins.length, 2)}: ${number(count)}`}</title>
          </rect>
        );
      })}
      <path className="axis" d={`M0 ${base}H${WIDTH}`} />
      {threshold !== null && (
        <>
          <path
            d={`M${threshold * WIDTH} 0V${base}`}
            stroke="var(--ink)"
            strokeWidth="1.5"
            strokeDasharray="3 4"
          />
          <text x={threshold * WIDTH} y={HEIGHT - 4} textAnchor="middle">
            {number(threshold, 2)}
          </text>
        </>
      )}
      <text x="0" y={HEIGHT - 4}>
        hard
      </text>
      <text x={WIDTH} y={HEIGHT - 4} textAnchor="end">
        easy
      </text>
    </svg>
  );
}
