/** Keys that do something wherever the focus is, and single letters where nothing is written. */
export const SHORTCUTS: [string, string, string][] = [
  ["/", "focus", "Write a question"],
  ["n", "new", "New conversation"],
  ["Esc", "stop", "Stop the answer"],
  ["r", "again", "Regenerate the last answer"],
  ["↑", "edit", "Edit the last question (in the empty box)"],
  ["Ctrl K", "search", "Search conversations"],
  ["g c", "go /", "Go to Chat"],
  ["g m", "go /monitoring", "Go to Monitoring"],
  ["g r", "go /routing", "Go to Routing"],
  ["g j", "go /jobs", "Go to Jobs"],
  ["g u", "go /usage", "Go to Usage"],
  ["g a", "go /codes", "Go to App codes"],
  ["g s", "go /settings", "Go to Settings"],
  ["g p", "go /profile", "Go to Profile"],
  ["?", "help", "Show this"],
];

type Handler = (name: string) => boolean;

const handlers: Handler[] = [];
const CHORD_MS = 900;
let first = "";
let at = 0;

/** The one who came last is asked first; true ends the asking. */
export function onShortcut(handler: Handler): () => void {
  handlers.unshift(handler);
  return () => {
    handlers.splice(handlers.indexOf(handler), 1);
  };
}

export function shortcutOf(event: KeyboardEvent, now = performance.now()): string | null {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") return "search";
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.key === "Escape") return "stop";
  if (isWriting(event.target)) return null;
  const chord = first && now - at < CHORD_MS ? `${first} ${event.key}` : event.key;
  first = event.key === "g" && !chord.includes(" ") ? "g" : "";
  at = now;
  return SHORTCUTS.find(([keys]) => keys === chord)?.[1] ?? null;
}

function isWriting(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const name = shortcutOf(event);
    if (!name) return;
    for (const handler of [...handlers]) {
      if (handler(name)) {
        event.preventDefault();
        return;
      }
    }
  });
}
