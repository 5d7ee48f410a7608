/** One thing in full, at the side; Escape, the cross and a click beside it close it. */
import { useEffect, useRef } from "react";
import type { ReactNode } from "react";
import { Close } from "./icons";

interface Props {
  title: string;
  /** What it is called for who does not see it. */
  label: string;
  onClose: () => void;
  children: ReactNode;
}

export function Drawer({ title, label, onClose, children }: Props) {
  const host = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!host.current?.open) host.current?.showModal();
  }, []);
  return (
    <dialog
      className="drawer"
      ref={host}
      aria-label={label}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === host.current) onClose();
      }}
    >
      <div className="dialog-top">
        <h2>{title}</h2>
        <button type="button" className="icon-button" onClick={onClose} aria-label="Close">
          <Close />
        </button>
      </div>
      <div className="drawer-body">{children}</div>
    </dialog>
  );
}

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
