/** Which model to ask. A combobox: type to narrow, arrows to walk, Enter to choose. */
import { useEffect, useId, useRef, useState } from "react";
import { Chevron } from "../ui/icons";
import { isRoute, loadModels, useModels } from "./models";
import type { Model } from "./models";

interface Props {
  value: string;
  onChoose: (model: string) => void;
  label: string;
  /** What stands on the button instead of the model. */
  children?: React.ReactNode;
  below?: boolean;
}

export function ModelPicker({ value, onChoose, label, children, below }: Props) {
  const [open, setOpen] = useState(false);
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const { all, error } = useModels();
  const host = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const matching = all.filter((one) => one.id.toLowerCase().includes(words.trim().toLowerCase()));

  useEffect(() => {
    if (!open) return;
    void loadModels();
    const away = (event: PointerEvent) => {
      if (!host.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [open]);

  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at, open]);

  const show = () => {
    setWords("");
    setAt(
      Math.max(
        0,
        all.findIndex((one) => one.id === value),
      ),
    );
    setOpen((was) => !was);
  };
  const choose = (model: Model | undefined) => {
    if (!model) return;
    setOpen(false);
    button.current?.focus();
    onChoose(model.id);
  };
  const onKey = (event: React.KeyboardEvent) => {
    const last = matching.length - 1;
    if (event.key === "ArrowDown") setAt(Math.min(at + 1, last));
    else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (event.key === "Home") setAt(0);
    else if (event.key === "End") setAt(last);
    else if (event.key === "Enter") choose(matching[at]);
    else if (event.key === "Escape") {
      setOpen(false);
      button.current?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div className="picker" ref={host}>
      <button
        type="button"
        ref={button}
        className="icon-button"
        onClick={show}
        aria-haspopup="listbox"
        aria-expanded={open}
        aria-label={`${label}: ${value}`}
        title={label}
      >
        {children ?? (
          <>
            <span>{value}</span>
            <Chevron size={15} />
          </>
        )}
      </button>
      {open && (
        <div className={`picker-box${below ? " below end" : ""}`}>
          <input
            autoFocus
            role="combobox"
            aria-expanded="true"
            aria-controls={`${id}-list`}
            aria-activedescendant={matching[at] ? `${id}-${at}` : undefined}
            aria-label={label}
            placeholder="Find a model"
            value={words}
            onChange={(event) => {
              setWords(event.target.value);
              setAt(0);
            }}
            onKeyDown={onKey}
          />
          <ul role="listbox" id={`${id}-list`} aria-label={label} ref={list}>
            {matching.map((model, index) => (
              <ModelRow
                key={model.id}
                id={`${id}-${index}`}
                model={model}
                before={matching[index - 1]}
                selected={index === at}
                now={model.id === value}
                onPoint={() => setAt(index)}
                onChoose={() => choose(model)}
              />
            ))}
          </ul>
          {matching.length === 0 && <p className="hint">No model has “{words}” in its name.</p>}
          {error && <p className="wrong">The models cannot be listed: {error.message}</p>}
        </div>
      )}
    </div>
  );
}

interface RowProps {
  id: string;
  model: Model;
  before: Model | undefined;
  selected: boolean;
  now: boolean;
  onPoint: () => void;
  onChoose: () => void;
}

function ModelRow({ id, model, before, selected, now, onPoint, onChoose }: RowProps) {
  const named = isRoute(model);
  const first = !before || before.owner !== model.owner;
  const bare = named ? model.id : model.id.slice(model.id.indexOf("/") + 1);
  return (
    <>
      {first && (
        <li className="group" role="presentation">
          {named ? "Routes" : model.owner}
        </li>
      )}
      <li
        id={id}
        role="option"
        aria-selected={selected}
        className={now ? "now" : undefined}
        onPointerMove={onPoint}
        onClick={onChoose}
      >
        {bare}
        {model.id === "auto" && <small>The classifier chooses for each question</small>}
      </li>
    </>
  );
}
