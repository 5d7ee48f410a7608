/** The frame of a page beside the chat. */
import type { ReactNode } from "react";
import "../styles/pages.css";

interface Props {
  title: string;
  about?: ReactNode;
  tools?: ReactNode;
  narrow?: boolean;
  children: ReactNode;
}

export function Sheet({ title, about, tools, narrow, children }: Props) {
  return (
    <div className="sheet" tabIndex={0} role="region" aria-label={title}>
      <div className={`sheet-in${narrow ? " narrow" : ""}`}>
        <div className="sheet-top">
          <div>
            <h1>{title}</h1>
            {about && <p>{about}</p>}
          </div>
          {tools}
        </div>
        {children}
      </div>
    </div>
  );
}

export function Panel({
  title,
  side,
  children,
}: {
  title: string;
  side?: ReactNode;
  children: ReactNode;
}) {
  return (
    <section className="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {side}
      </header>
      {children}
    </section>
  );
}

export function Figure({
  name,
  value,
  unit,
  under,
  bad,
}: {
  name: string;
  value: string;
  unit?: string;
  under?: ReactNode;
  bad?: boolean;
}) {
  return (
    <div className={`figure${bad ? " bad" : ""}`}>
      <dt>{name}</dt>
      <dd>
        {value} {unit && <small>{unit}</small>}
      </dd>
      {under && <dd className="under">{under}</dd>}
    </div>
  );
}

/** Names and values, as many beside each other as there is room for. */
export function Facts({ facts }: { facts: [string, string][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
