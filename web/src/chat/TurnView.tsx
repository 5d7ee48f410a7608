/** A question and its answers, one lane or two. */
import { memo, useState } from "react";
import { Braces, Edit } from "../ui/icons";
import { AnswerView, tierOf } from "./AnswerView";
import { askAgain, editAndAsk } from "./asking";
import { CopyButton } from "./Markdown";
import type { Turn } from "./model";
import { isOpen, shownAnswer } from "./model";
import { Pictures } from "./Pictures";
import { store } from "./store";

interface Props {
  conversation: string;
  turn: Turn;
  last: boolean;
  editing: boolean;
  onEditing: (editing: boolean) => void;
}

export const TurnView = memo(
  function TurnView({ conversation, turn, last, editing, onEditing }: Props) {
    const two = turn.lanes.length > 1;
    const chosen = shownAnswer(turn);
    const tier = chosen && !two ? tierOf(chosen) : null;
    return (
      <article
        className={`turn${two ? " two" : ""}${tier ? ` tier-${tier}` : ""}`}
        aria-label={turn.text.slice(0, 80) || "A question with a picture"}
      >
        <Asked conversation={conversation} turn={turn} editing={editing} onEditing={onEditing} />
        <div className={`lanes${two ? " two" : ""}`}>
          {turn.lanes.map((versions, lane) => {
            const version = turn.shown[lane] ?? 0;
            const answer = shownAnswer(turn, lane);
            if (!answer) return null;
            return (
              <div key={lane}>
                {two && <LaneTop conversation={conversation} turn={turn} lane={lane} last={last} />}
                <AnswerView
                  key={answer.id}
                  conversation={conversation}
                  answer={answer}
                  json={turn.schema !== null}
                  version={version}
                  versions={versions.length}
                  onVersion={(to) => show(conversation, turn, lane, to)}
                  onAgain={(model) => askAgain(conversation, turn, lane, model)}
                />
              </div>
            );
          })}
        </div>
      </article>
    );
  },
  (before, after) =>
    before.turn === after.turn &&
    before.last === after.last &&
    before.editing === after.editing &&
    before.conversation === after.conversation,
);

function show(conversation: string, turn: Turn, lane: number, version: number): void {
  store.turn(conversation, turn.id, (one) => ({
    ...one,
    shown: one.shown.map((had, at) => (at === lane ? version : had)),
  }));
}

function LaneTop({
  conversation,
  turn,
  lane,
  last,
}: {
  conversation: string;
  turn: Turn;
  lane: number;
  last: boolean;
}) {
  const answer = shownAnswer(turn, lane);
  const chosen = turn.chosen === lane;
  return (
    <div className="lane-top">
      <strong>{answer?.model}</strong>
      {chosen && <span>goes on from here</span>}
      {!chosen && last && answer && !isOpen(answer) && answer.text && (
        <button
          type="button"
          className="button small"
          onClick={() => store.turn(conversation, turn.id, (one) => ({ ...one, chosen: lane }))}
        >
          Go on from this one
        </button>
      )}
    </div>
  );
}

function Asked({ conversation, turn, editing, onEditing }: Omit<Props, "last">) {
  if (editing)
    return <EditBox conversation={conversation} turn={turn} onEnd={() => onEditing(false)} />;
  return (
    <div className="asked">
      <p className="words">{turn.text}</p>
      <Pictures urls={turn.images} />
      {turn.schema !== null && (
        <span className="badge">
          <Braces size={14} /> as JSON, by a schema
        </span>
      )}
      <div className="tools">
        <button
          type="button"
          className="icon-button"
          onClick={() => onEditing(true)}
          aria-label="Edit and ask again"
          title="Edit and ask again"
        >
          <Edit size={16} />
        </button>
        <CopyButton text={turn.text} label="Copy the question" />
      </div>
    </div>
  );
}

function EditBox({
  conversation,
  turn,
  onEnd,
}: {
  conversation: string;
  turn: Turn;
  onEnd: () => void;
}) {
  const [text, setText] = useState(turn.text);
  const ask = () => {
    const there = store.get(conversation);
    if (!there || (!text.trim() && !turn.images.length)) return;
    onEnd();
    editAndAsk(there, turn, text.trim());
  };
  return (
    <div className="asked edit">
      <textarea
        autoFocus
        aria-label="Edit the question"
        rows={Math.min(10, text.split("\n").length + 1)}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onFocus={(event) => event.target.setSelectionRange(text.length, text.length)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            ask();
          } else if (event.key === "Escape") {
            event.stopPropagation();
            onEnd();
          }
        }}
      />
      <div className="row">
        <button type="button" className="button small first" onClick={ask}>
          Ask again
        </button>
        <button type="button" className="button small" onClick={onEnd}>
          Cancel
        </button>
        <span className="hint">What came after it is dropped.</span>
      </div>
    </div>
  );
}
