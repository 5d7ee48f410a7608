/** The browser's own modal dialog: it traps the focus and closes with Escape. */
import { useEffect, useRef } from "react";
import type { ReactNode } from "react";
import { Close } from "./icons";

export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}) {
  const host = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = host.current;
    if (!dialog?.open) dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={host}
      aria-label={title}
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
      {children}
    </dialog>
  );
}
