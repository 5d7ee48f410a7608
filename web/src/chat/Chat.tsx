/** The chat: a conversation, and the box to go on with it. */
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useSigned } from "../api/gateway";
import { go, useQuery } from "../router";
import { Chevron } from "../ui/icons";
import { onShortcut } from "../ui/shortcuts";
import { askAgain, askNew, stopAll, takeUp } from "./asking";
import type { Draft } from "./asking";
import { Composer } from "./Composer";
import type { Choice } from "./Composer";
import { Hello } from "./Hello";
import { isOpen } from "./model";
import { loadModels } from "./models";
import { store, useConversation, useTrouble } from "./store";
import { TurnView } from "./TurnView";
import "../styles/chat.css";

const CHOICE = "pointsman.choice";
const NEAR_END = 60;

export function Chat() {
  const id = useQuery("c");
  const conversation = useConversation(id);
  const { link, caller } = useSigned();
  const trouble = useTrouble();
  const [choice, setChoice] = useChoice();
  const [editing, setEditing] = useState<string | null>(null);
  const [missing, setMissing] = useState(false);
  const turns = conversation?.turns;
  const running = useMemo(
    () => turns?.some((turn) => turn.lanes.flat().some(isOpen)) ?? false,
    [turns],
  );
  const wide = turns?.some((turn) => turn.lanes.length > 1) ?? false;

  useEffect(() => {
    void loadModels();
  }, [caller.id]);

  useEffect(() => {
    setEditing(null);
    setMissing(false);
    if (!id) return;
    void store
      .use(caller.id)
      .then(() => store.load(id))
      .then((found) => (found ? takeUp(found) : setMissing(true)));
  }, [id, caller.id]);

  useEffect(() => {
    document.title = conversation ? `${conversation.title} · Pointsman` : "Pointsman";
  }, [conversation?.title]);

  const stop = useCallback(() => turns?.forEach(stopAll), [turns]);
  const editLast = useCallback(() => setEditing(turns?.at(-1)?.id ?? null), [turns]);
  useEffect(
    () =>
      onShortcut((name) => {
        const last = turns?.at(-1);
        if (name === "stop") stop();
        else if (name === "again" && last && id && !running) {
          askAgain(id, last, last.chosen, last.lanes[last.chosen]?.at(-1)?.model ?? "auto");
        } else return false;
        return true;
      }),
    [turns, id, running, stop],
  );

  const ask = (draft: Draft) => {
    const there = askNew(conversation, draft);
    if (there !== id) go(`/?c=${there}`);
  };
  const under =
    trouble ||
    (link === "blocked"
      ? "Sockets are blocked on the way here: answers stream over plain HTTP."
      : link === "lost"
        ? "The gateway is out of reach; trying again…"
        : "");
  return (
    <div className="chat">
      <div className="scroll-box">
        {conversation ? (
          <Scroll key={conversation.id} wide={wide} mark={conversation.turns}>
            {conversation.turns.map((turn, at) => (
              <TurnView
                key={turn.id}
                conversation={conversation.id}
                turn={turn}
                last={at === conversation.turns.length - 1}
                editing={editing === turn.id}
                onEditing={(now) => setEditing(now ? turn.id : null)}
              />
            ))}
          </Scroll>
        ) : (
          <Hello
            missing={missing && id !== null}
            onAsk={(text) => ask({ text, images: [], ...choice })}
          />
        )}
      </div>
      <Composer
        choice={choice}
        onChoice={setChoice}
        onAsk={ask}
        onStop={stop}
        onEditLast={editLast}
        running={running}
        wide={wide}
        under={under}
      />
    </div>
  );
}

/** Stays at the end while the answer grows, unless the reader went up. */
function Scroll({
  children,
  mark,
  wide,
}: {
  children: React.ReactNode;
  mark: unknown;
  wide: boolean;
}) {
  const host = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = useCallback(() => {
    const box = host.current;
    if (box) box.scrollTop = box.scrollHeight;
  }, []);
  const count = Array.isArray(mark) ? mark.length : 0;
  useLayoutEffect(() => {
    pinned.current = true;
    toEnd();
  }, [count, toEnd]);
  useLayoutEffect(() => {
    if (pinned.current) toEnd();
  }, [mark, toEnd]);
  return (
    <>
      <div
        className="scroll"
        ref={host}
        tabIndex={0}
        role="region"
        aria-label="The conversation"
        onScroll={(event) => {
          const box = event.currentTarget;
          const near = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
          pinned.current = near;
          setAway(!near);
        }}
      >
        <div className={`column${wide ? " wide" : ""}`}>{children}</div>
      </div>
      {away && (
        <button type="button" className="button small to-end" onClick={toEnd}>
          <Chevron size={16} /> To the end
        </button>
      )}
    </>
  );
}

function useChoice(): [Choice, (choice: Choice) => void] {
  const [choice, setChoice] = useState<Choice>(() => {
    try {
      const kept = JSON.parse(localStorage.getItem(CHOICE) ?? "null") as Choice | null;
      if (kept?.models.length) return kept;
    } catch {
      // What cannot be read is not kept.
    }
    return { models: ["auto"], schema: null };
  });
  return [
    choice,
    (next) => {
      setChoice(next);
      try {
        localStorage.setItem(CHOICE, JSON.stringify(next));
      } catch {
        // The choice holds for this page.
      }
    },
  ];
}
