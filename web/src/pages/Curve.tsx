/** The quality-cost curve. Its point is the line between the tiers: dragged, or moved with the
 * arrow keys, it shows what another threshold would cost and be worth. */
import { useLayoutEffect, useRef, useState } from "react";
import { send, told } from "../api/http";
import type { Told } from "../api/http";
import { money, number, share } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Figure } from "../ui/Sheet";

export interface CurvePoint {
  strong_share: number;
  threshold: number;
  quality: number;
  /** Of a thousand questions, in dollars. */
  cost: number | null;
}

interface Props {
  curve: CurvePoint[];
  route: { threshold: number | null; target_strong_share: number | null } | undefined;
  /** The card's own, where the route has none. */
  usual: number;
  onChange: () => void;
}

const USUAL_WIDTH = 900;
const HEIGHT = 260;
const LEFT = 44;
const FOOT = 34;

export function Curve({ curve, route, usual, onChange }: Props) {
  const points = [...curve].sort((a, b) => a.strong_share - b.strong_share);
  const current = nearest(points, route, usual);
  const [moved, setMoved] = useState<number | null>(null);
  const [error, setError] = useState<Told | null>(null);
  const [done, setDone] = useState("");
  const host = useRef<SVGSVGElement>(null);
  const width = useWidth(host);
  const at = moved ?? current;
  const point = points[at];
  const now = points[current];
  if (!point || !now) return null;

  const low = Math.min(...points.map((one) => one.quality));
  const high = Math.max(...points.map((one) => one.quality));
  const room = (high - low || 0.1) * 0.12;
  const x = (value: number) => LEFT + value * (width - LEFT - 12);
  const y = (value: number) =>
    12 + (1 - (value - low + room) / (high - low + 2 * room || 1)) * (HEIGHT - FOOT - 12);
  const path = points
    .map(
      (one, index) =>
        `${index ? "L" : "M"}${x(one.strong_share).toFixed(1)} ${y(one.quality).toFixed(1)}`,
    )
    .join("");
  const first = points[0];
  const last = points.at(-1);

  const drag = (event: React.PointerEvent) => {
    const box = host.current?.getBoundingClientRect();
    if (!box || (event.type === "pointermove" && event.buttons === 0)) return;
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    const wanted = (((event.clientX - box.left) / box.width) * width - LEFT) / (width - LEFT - 12);
    setDone("");
    setMoved(closest(points, (one) => Math.abs(one.strong_share - wanted)));
  };
  const save = async () => {
    setError(null);
    try {
      await send("POST", "/settings", {
        routes: { auto: { threshold: point.threshold, target_strong_share: null } },
      });
      setDone("It holds from the next question on.");
      setMoved(null);
      onChange();
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <>
      <div className="curve">
        <svg
          ref={host}
          className="svg-chart"
          viewBox={`0 0 ${width} ${HEIGHT}`}
          onPointerDown={drag}
          onPointerMove={drag}
          aria-hidden="true"
        >
          {[0, 0.25, 0.5, 0.75, 1].map((value) => (
            <g key={value}>
              <path className="axis" d={`M${x(value)} 12V${HEIGHT - FOOT}`} />
              <text x={x(value)} y={HEIGHT - FOOT + 16} textAnchor="middle">
                {share(value)}
              </text>
            </g>
          ))}
          {[low, high].map((value) => (
            <text key={value} x={LEFT - 8} y={y(value) + 4} textAnchor="end">
              {number(value, 2)}
            </text>
          ))}
          <text x={x(0.5)} y={HEIGHT - 2} textAnchor="middle">
            share of questions to the strong line
          </text>
          {first && last && (
            <path
              d={`M${x(first.strong_share)} ${y(first.quality)}L${x(last.strong_share)} ${y(last.quality)}`}
              stroke="var(--edge)"
              strokeDasharray="3 6"
              fill="none"
            />
          )}
          <path
            d={path}
            fill="none"
            stroke="var(--local)"
            strokeWidth="3"
            strokeLinejoin="round"
            strokeLinecap="round"
          />
          <path
            d={`M${x(point.strong_share)} ${y(point.quality)}V${HEIGHT - FOOT}`}
            stroke="var(--ink)"
            strokeDasharray="2 5"
          />
          {moved !== null && moved !== current && (
            <circle
              cx={x(now.strong_share)}
              cy={y(now.quality)}
              r="6"
              fill="var(--paper)"
              stroke="var(--edge)"
              strokeWidth="2"
            />
          )}
          <circle
            cx={x(point.strong_share)}
            cy={y(point.quality)}
            r="9"
            fill="var(--strong)"
            stroke="var(--paper)"
            strokeWidth="3"
            style={{ cursor: "grab" }}
          />
        </svg>
        <input
          type="range"
          min={0}
          max={points.length - 1}
          value={at}
          aria-label="The line between the tiers"
          aria-valuetext={`${share(point.strong_share)} to the strong line, threshold ${number(point.threshold, 2)}, quality ${number(point.quality, 3)}${point.cost == null ? "" : `, ${money(point.cost)} a thousand questions`}`}
          onChange={(event) => {
            setDone("");
            setMoved(Number(event.target.value));
          }}
        />
      </div>
      <dl className="readoff">
        <Figure
          name="To the strong line"
          value={share(point.strong_share, 1)}
          under={at === current ? "as it is" : `now ${share(now.strong_share, 1)}`}
        />
        <Figure
          name="Threshold"
          value={number(point.threshold, 3)}
          under={at === current ? "as it is" : `now ${number(now.threshold, 3)}`}
        />
        <Figure
          name="Quality"
          value={number(point.quality, 3)}
          under={gap(point.quality - now.quality)}
        />
        <Figure
          name="Cost"
          value={point.cost == null ? share(point.strong_share) : money(point.cost)}
          under={costUnder(point, now, points.at(-1))}
        />
      </dl>
      {moved !== null && moved !== current && (
        <div className="form">
          <div className="acts">
            <button type="button" className="button first" onClick={() => void save()}>
              Use this threshold
            </button>
            <button type="button" className="button" onClick={() => setMoved(null)}>
              Back to what holds
            </button>
          </div>
        </div>
      )}
      {done && <p role="status">{done}</p>}
      {error && <Notice error={error} />}
    </>
  );
}

/** One unit of the drawing is one pixel, so that its words stay readable on a phone. */
function useWidth(host: React.RefObject<SVGSVGElement | null>): number {
  const [width, setWidth] = useState(USUAL_WIDTH);
  useLayoutEffect(() => {
    const box = host.current;
    if (!box) return;
    const sized = new ResizeObserver(() => setWidth(Math.max(280, Math.round(box.clientWidth))));
    sized.observe(box);
    return () => sized.disconnect();
  }, [host]);
  return width;
}

function costUnder(point: CurvePoint, now: CurvePoint, strong: CurvePoint | undefined): string {
  if (point.cost == null) return "of always strong; its prices are unknown";
  const others = point === now ? "" : `, now ${money(now.cost)}`;
  return `a thousand questions${others}; always strong ${money(strong?.cost)}`;
}

function gap(value: number): string {
  if (Math.abs(value) < 0.0005) return "as it is";
  return `${value > 0 ? "+" : "−"}${number(Math.abs(value), 3)}`;
}

export function nearest(points: CurvePoint[], route: Props["route"], usual: number): number {
  const share = route?.threshold == null ? route?.target_strong_share : null;
  if (share != null) return closest(points, (one) => Math.abs(one.strong_share - share));
  const threshold = route?.threshold ?? usual;
  return closest(points, (one) => Math.abs(one.threshold - threshold));
}

function closest(points: CurvePoint[], far: (point: CurvePoint) => number): number {
  let best = 0;
  for (const [index, point] of points.entries()) {
    const there = points[best];
    if (there && far(point) < far(there)) best = index;
  }
  return best;
}
