/** Where a question is written. Enter asks, Shift+Enter is a new line. */
import { useEffect, useRef, useState } from "react";
import { Braces, Columns, Image, Send, Stop, Warn } from "../ui/icons";
import type { Draft } from "./asking";
import { ModelPicker } from "./ModelPicker";
import { Pictures, pictureOf } from "./Pictures";

const SCHEMA = `{
  "type": "object",
  "properties": {
    "answer": {"type": "string"}
  },
  "required": ["answer"],
  "additionalProperties": false
}`;
const MOST_PICTURES = 8;

export interface Choice {
  models: string[];
  schema: string | null;
}

interface Props {
  choice: Choice;
  onChoice: (choice: Choice) => void;
  onAsk: (draft: Draft) => void;
  onStop: () => void;
  onEditLast: () => void;
  running: boolean;
  wide: boolean;
  under: string;
}

export function Composer({
  choice,
  onChoice,
  onAsk,
  onStop,
  onEditLast,
  running,
  wide,
  under,
}: Props) {
  const [text, setText] = useState("");
  const [images, setImages] = useState<string[]>([]);
  const [trouble, setTrouble] = useState("");
  const [dropping, setDropping] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  const file = useRef<HTMLInputElement>(null);
  const { models, schema } = choice;
  const fault = schema === null ? "" : faultOf(schema);
  const ready = (text.trim() || images.length) && !fault && !running;

  useEffect(() => {
    if (matchMedia("(hover: hover)").matches) box.current?.focus();
  }, []);

  const add = async (files: Iterable<File>) => {
    setTrouble("");
    for (const one of files) {
      if (!one.type.startsWith("image/")) {
        setTrouble(`${one.name} is no picture. Pictures can be pasted, dropped or chosen.`);
        continue;
      }
      try {
        const url = await pictureOf(one);
        setImages((had) => [...had, url].slice(0, MOST_PICTURES));
      } catch {
        setTrouble(`${one.name || "The picture"} cannot be read. Try it as PNG or JPEG.`);
      }
    }
  };
  const ask = () => {
    if (!ready) return;
    onAsk({ text: text.trim(), images, schema, models });
    setText("");
    setImages([]);
    setTrouble("");
  };
  const setModel = (lane: number, model: string) =>
    onChoice({ ...choice, models: models.map((one, at) => (at === lane ? model : one)) });

  return (
    <div
      className={`ask${dropping ? " dropping" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setDropping(true);
      }}
      onDragLeave={() => setDropping(false)}
      onDrop={(event) => {
        event.preventDefault();
        setDropping(false);
        void add(event.dataTransfer.files);
      }}
    >
      {trouble && (
        <div className="notice" role="alert">
          <Warn />
          <p>{trouble}</p>
        </div>
      )}
      <div className={`ask-box${wide ? " wide" : ""}`}>
        {schema !== null && (
          <div className="schema">
            <label className="hint" htmlFor="schema">
              The answer keeps to this JSON schema
            </label>
            <textarea
              id="schema"
              spellCheck={false}
              value={schema}
              aria-invalid={fault !== ""}
              onChange={(event) => onChoice({ ...choice, schema: event.target.value })}
            />
            {fault && <p className="wrong">{fault}</p>}
          </div>
        )}
        <Pictures
          urls={images}
          onRemove={(at) => setImages(images.filter((_, one) => one !== at))}
        />
        <textarea
          ref={box}
          id="question"
          className="words"
          rows={1}
          value={text}
          placeholder="Ask anything"
          aria-label="Your question"
          onChange={(event) => setText(event.target.value)}
          onPaste={(event) => {
            const pasted = [...event.clipboardData.files];
            if (!pasted.length) return;
            event.preventDefault();
            void add(pasted);
          }}
          onKeyDown={(event) => {
            if (event.nativeEvent.isComposing) return;
            if (event.key === "Enter" && !event.shiftKey) {
              event.preventDefault();
              ask();
            } else if (event.key === "ArrowUp" && !text) {
              event.preventDefault();
              onEditLast();
            }
          }}
        />
        <div className="ask-row">
          {models.map((model, lane) => (
            <ModelPicker
              key={lane}
              value={model}
              onChoose={(chosen) => setModel(lane, chosen)}
              label={models.length > 1 ? `Model ${lane + 1}` : "Model"}
            />
          ))}
          <button
            type="button"
            className="icon-button"
            aria-pressed={models.length > 1}
            aria-label="Side by side"
            title="Ask two models side by side"
            onClick={() =>
              onChoice({
                ...choice,
                models: models.length > 1 ? models.slice(0, 1) : [...models, "auto"],
              })
            }
          >
            <Columns />
          </button>
          <button
            type="button"
            className="icon-button"
            aria-pressed={schema !== null}
            aria-label="JSON schema"
            title="An answer as JSON, by a schema"
            onClick={() => onChoice({ ...choice, schema: schema === null ? SCHEMA : null })}
          >
            <Braces />
          </button>
          <button
            type="button"
            className="icon-button"
            aria-label="Add a picture"
            title="Add a picture, or paste one"
            onClick={() => file.current?.click()}
          >
            <Image />
          </button>
          <input
            ref={file}
            type="file"
            accept="image/*"
            multiple
            hidden
            aria-label="Pictures"
            onChange={(event) => {
              void add(event.target.files ?? []);
              event.target.value = "";
            }}
          />
          <div className="go">
            {running ? (
              <button
                type="button"
                className="go-button stop"
                onClick={onStop}
                aria-label="Stop"
                title="Stop (Esc)"
              >
                <Stop />
              </button>
            ) : (
              <button
                type="button"
                className="go-button"
                onClick={ask}
                disabled={!ready}
                aria-label="Ask"
                title="Ask (Enter)"
              >
                <Send />
              </button>
            )}
          </div>
        </div>
      </div>
      <div className="ask-under">
        <span>{under}</span>
        <span>
          <kbd>?</kbd> shortcuts
        </span>
      </div>
    </div>
  );
}

export function faultOf(schema: string): string {
  try {
    const read = JSON.parse(schema) as unknown;
    if (typeof read !== "object" || read === null || Array.isArray(read))
      return "A schema is a JSON object.";
    return "";
  } catch (fault) {
    return `This is not JSON yet: ${(fault as Error).message}`;
  }
}
