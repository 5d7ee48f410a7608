/** Lines over time, by uPlot, in the page's own colours. */
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { datesLanguage } from "./format";

export interface Line {
  name: string;
  /** A custom property, as "--local". */
  colour: string;
  fill?: boolean;
}

interface Props {
  label: string;
  lines: Line[];
  /** Seconds since 1970, then a row for each line. */
  data: (number | null)[][];
  say: (value: number) => string;
}

const HEIGHT = 150;
/** What the feed keeps. */
const SPAN_S = 600;
const LEAST_S = 150;

export function Chart({ label, lines, data, say }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const box = host.current;
    if (!box) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(box, lines, say), latest.current as uPlot.AlignedData, box);
    };
    draw();
    const sized = new ResizeObserver(() =>
      plot.current?.setSize({ width: box.clientWidth, height: HEIGHT }),
    );
    sized.observe(box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    const themed = new MutationObserver(draw);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      sized.disconnect();
      themed.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
    // The lines of a chart never change while it stands.
  }, []);

  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data]);
  return (
    <div className="chart" ref={host} role="img" aria-label={summary(label, lines, data, say)} />
  );
}

function options(box: HTMLElement, lines: Line[], say: (value: number) => string): uPlot.Options {
  const soft = colourOf(box, "--soft");
  const axis = {
    stroke: soft,
    font: "11px system-ui",
    ticks: { show: false },
    border: { show: false },
  };
  return {
    width: box.clientWidth || 300,
    height: HEIGHT,
    padding: [8, 6, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { show: false },
    scales: {
      x: {
        range: (_, low, high) => [Math.max(high - SPAN_S, Math.min(low, high - LEAST_S)), high],
      },
      y: { range: (_, _low, high) => [0, high > 0 ? high * 1.15 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 60,
        size: 24,
        values: (_, ticks) => ticks.map((tick) => (tick % 60 ? "" : clock(tick))),
      },
      {
        ...axis,
        grid: { stroke: colourOf(box, "--line"), width: 1 },
        space: 36,
        // As wide as its words: the plots begin where their titles do.
        size: (_, words) => 10 + 6.2 * Math.max(3, ...(words ?? []).map((one) => one.length)),
        values: (_, ticks) => ticks.map(say),
      },
    ],
    series: [
      {},
      ...lines.map((line) => {
        const stroke = colourOf(box, line.colour);
        return {
          label: line.name,
          stroke,
          width: 1.75,
          points: { size: 4 },
          spanGaps: true,
          ...(line.fill ? { fill: stroke.replace(/^rgb\((.+)\)$/, "rgba($1, 0.12)") } : {}),
        };
      }),
    ],
  };
}

function clock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString(datesLanguage() || undefined, {
    hour: "2-digit",
    minute: "2-digit",
    hour12: false,
  });
}

/** A custom property as a canvas reads it. */
function colourOf(box: HTMLElement, property: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  box.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function summary(
  label: string,
  lines: Line[],
  data: (number | null)[][],
  say: (value: number) => string,
): string {
  const now = lines.map((line, at) => {
    const last = data[at + 1]?.at(-1);
    return `${line.name} ${last == null ? "unknown" : say(last)}`;
  });
  return `${label}: ${now.join(", ")}`;
}

export function Keys({ lines }: { lines: Line[] }) {
  return (
    <span className="chart-keys">
      {lines.map((line) => (
        <span key={line.name}>
          <Swatch colour={line.colour} /> {line.name}
        </span>
      ))}
    </span>
  );
}

function Swatch({ colour }: { colour: string }) {
  return <i style={{ background: `var(${colour})` }} />;
}
