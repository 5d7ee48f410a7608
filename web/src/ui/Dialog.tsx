/** The browser's own modal dialog: it traps the focus and closes with Escape. */
import { useEffect, useRef } from "react";
import type { ReactNode } from "react";
import { Close } from "./icons";

interface Props {
  title: string;
  /** What it is called for who does not see it, where that is more than its title. */
  label?: string;
  drawer?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A drawer stands at the side: one thing in full. */
export function Dialog({ title, label = title, drawer = false, onClose, children }: Props) {
  const host = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = host.current;
    if (!dialog?.open) dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={host}
      className={drawer ? "drawer" : undefined}
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
      {drawer ? <div className="drawer-body">{children}</div> : children}
    </dialog>
  );
}
