/** A list of rows of one height, of which only those are made that somebody may see. */
import { useEffect, useRef, useState } from "react";
import type { CSSProperties, ReactNode } from "react";

/** Rows above and below what is seen, so that a flick finds some. */
const MORE = 20;

interface Props<T> {
  rows: T[];
  /** Of one row, in pixels; a row takes it from --row. */
  height: number;
  draw: (row: T) => ReactNode;
}

export function Window<T>({ rows, height, draw }: Props<T>) {
  const host = useRef<HTMLDivElement>(null);
  const [[from, to], setSeen] = useState<[number, number]>([0, 2 * MORE]);
  useEffect(() => {
    const box = host.current;
    if (!box) return;
    let asked = 0;
    const look = () => {
      asked = 0;
      const top = -box.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(top / height) - MORE);
      // Some are there before they are scrolled to: whoever searches the page finds the newest.
      const last = Math.max(0, Math.ceil((top + innerHeight) / height)) + MORE;
      // In steps, so that not every pixel draws anew.
      const step = MORE / 2;
      setSeen((had) => {
        const seen = [Math.floor(first / step) * step, Math.ceil(last / step) * step] as const;
        return seen[0] === had[0] && seen[1] === had[1] ? had : [seen[0], seen[1]];
      });
    };
    const soon = () => {
      asked ||= requestAnimationFrame(look);
    };
    look();
    // A scroll of whatever stands around it, and what moves it down the page.
    addEventListener("scroll", soon, { capture: true, passive: true });
    addEventListener("resize", soon);
    const around = new ResizeObserver(soon);
    const sheet = box.closest(".sheet-in");
    if (sheet) around.observe(sheet);
    return () => {
      cancelAnimationFrame(asked);
      removeEventListener("scroll", soon, { capture: true });
      removeEventListener("resize", soon);
      around.disconnect();
    };
  }, [height]);
  const start = Math.min(from, Math.max(0, rows.length - 1));
  const style = {
    "--row": `${height}px`,
    height: rows.length * height,
    paddingTop: start * height,
  } as CSSProperties;
  return (
    <div ref={host} style={style}>
      {rows.slice(start, to).map(draw)}
    </div>
  );
}
