/** Something read from the gateway, with its error, and read again when asked. */
import { useCallback, useEffect, useRef, useState } from "react";
import { get, isMissing, told } from "../api/http";
import type { Told } from "../api/http";

export interface Loaded<T> {
  data: T | null;
  error: Told | null;
  /** The gateway has no such door yet. */
  missing: boolean;
  loading: boolean;
  again: () => void;
  put: (data: T) => void;
}

/** `path` null reads nothing; `every` milliseconds it is read again while the tab is looked at. */
export function useLoad<T>(path: string | null, every = 0): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, "again" | "put">>({
    data: null,
    error: null,
    missing: false,
    loading: path !== null,
  });
  const [count, setCount] = useState(0);
  const asked = useRef(path);
  useEffect(() => {
    if (path === null) return;
    const giveUp = new AbortController();
    const other = asked.current !== path;
    asked.current = path;
    setState((had) => ({ ...had, data: other ? null : had.data, loading: true }));
    get<T>(path, giveUp.signal)
      .then((data) => setState({ data, error: null, missing: false, loading: false }))
      .catch((fault: unknown) => {
        if (giveUp.signal.aborted) return;
        setState((had) => ({
          ...had,
          error: told(fault),
          missing: isMissing(fault),
          loading: false,
        }));
      });
    return () => giveUp.abort();
  }, [path, count]);
  useEffect(() => {
    if (!every || path === null) return;
    const beat = setInterval(() => {
      if (!document.hidden) setCount((had) => had + 1);
    }, every);
    return () => clearInterval(beat);
  }, [every, path]);
  return {
    ...state,
    again: useCallback(() => setCount((had) => had + 1), []),
    put: useCallback(
      (data: T) => setState({ data, error: null, missing: false, loading: false }),
      [],
    ),
  };
}
