/** Markdown as elements, never as HTML: whatever a model writes, no tag of it comes to life. */
import type { Token, Tokens } from "marked";
import { Fragment, memo, useLayoutEffect, useRef, useState } from "react";
import type { ReactNode } from "react";
import { Check, Copy } from "../ui/icons";
import { coloured } from "./highlight";
import { Incremental } from "./incremental";
import type { Block } from "./incremental";

export const Markdown = memo(function Markdown({ text, whole }: { text: string; whole: boolean }) {
  const [reader] = useState(() => new Incremental());
  return reader.update(text, whole).map((block) => <BlockOf key={block.key} block={block} />);
});

const BlockOf = memo(
  function BlockOf({ block }: { block: Block }) {
    return blockOf(block.token, block.settled);
  },
  (before, after) => before.block === after.block,
);

function blockOf(token: Token, settled: boolean): ReactNode {
  switch (token.type) {
    case "heading": {
      const { depth, tokens } = token as Tokens.Heading;
      // The page has its own h1 and h2.
      const Heading = `h${Math.min(depth + 2, 6)}` as "h3" | "h4" | "h5" | "h6";
      return <Heading>{inline(tokens)}</Heading>;
    }
    case "paragraph":
      return <p>{inline((token as Tokens.Paragraph).tokens)}</p>;
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inline(tokens) : text;
    }
    case "code": {
      const { text, lang } = token as Tokens.Code;
      return (
        <CodeBlock text={text} language={(lang ?? "").split(/\s/, 1)[0] ?? ""} settled={settled} />
      );
    }
    case "list":
      return listOf(token as Tokens.List, settled);
    case "blockquote":
      return <blockquote>{blocksOf((token as Tokens.Blockquote).tokens, settled)}</blockquote>;
    case "table":
      return tableOf(token as Tokens.Table);
    case "hr":
      return <hr />;
    case "space":
    case "def":
      return null;
    default:
      return <p>{(token as { raw: string }).raw}</p>;
  }
}

function blocksOf(tokens: Token[], settled: boolean): ReactNode {
  return tokens.map((token, at) => <Fragment key={at}>{blockOf(token, settled)}</Fragment>);
}

function listOf(list: Tokens.List, settled: boolean): ReactNode {
  const items = list.items.map((item, at) => (
    <li key={at} className={item.task ? "task" : undefined}>
      {item.task && (
        <input type="checkbox" checked={item.checked ?? false} disabled aria-label="task" />
      )}
      {blocksOf(
        item.tokens.filter((token) => (token.type as string) !== "checkbox"),
        settled,
      )}
    </li>
  ));
  return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
}

function tableOf(table: Tokens.Table): ReactNode {
  const align = (at: number) => {
    const side = table.align[at];
    return side ? `to-${side}` : undefined;
  };
  return (
    <div className="table-box" tabIndex={0} role="region" aria-label="table">
      <table>
        <thead>
          <tr>
            {table.header.map((cell, at) => (
              <th key={at} className={align(at)}>
                {inline(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((row, number) => (
            <tr key={number}>
              {row.map((cell, at) => (
                <td key={at} className={align(at)}>
                  {inline(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inline(tokens: Token[] | undefined): ReactNode {
  return tokens?.map((token, at) => <Fragment key={at}>{inlineOf(token)}</Fragment>);
}

function inlineOf(token: Token): ReactNode {
  switch (token.type) {
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens ? inline(tokens) : <Grown text={unescaped(text)} />;
    }
    case "escape":
      return (token as Tokens.Escape).text;
    case "strong":
      return <strong>{inline((token as Tokens.Strong).tokens)}</strong>;
    case "em":
      return <em>{inline((token as Tokens.Em).tokens)}</em>;
    case "del":
      return <del>{inline((token as Tokens.Del).tokens)}</del>;
    case "codespan":
      return <code>{unescaped((token as Tokens.Codespan).text)}</code>;
    case "br":
      return <br />;
    case "link": {
      const { href, tokens } = token as Tokens.Link;
      return safe(href) ? (
        <a href={href} target="_blank" rel="noreferrer noopener">
          {inline(tokens)}
        </a>
      ) : (
        inline(tokens)
      );
    }
    case "image": {
      // Nothing is loaded from elsewhere: a picture is a link to it.
      const { href, text } = token as Tokens.Image;
      return safe(href) ? (
        <a href={href} target="_blank" rel="noreferrer noopener">
          {text || href}
        </a>
      ) : (
        text
      );
    }
    default:
      return (token as { raw: string }).raw;
  }
}

function safe(href: string): boolean {
  return /^(https?:|mailto:)/i.test(href);
}

const ENTITIES: Record<string, string> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
};

function unescaped(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (found) => ENTITIES[found] ?? found);
}

/** Text that is only ever appended to, so that a selection in it survives its growing. */
function Grown({ text }: { text: string }) {
  const host = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const node = host.current?.firstChild;
    if (!(node instanceof Text)) host.current?.append(text);
    else if (text.startsWith(node.data)) {
      if (text.length > node.data.length) node.appendData(text.slice(node.data.length));
    } else node.data = text;
  }, [text]);
  return <span ref={host} />;
}

const CodeBlock = memo(function CodeBlock({
  text,
  language,
  settled,
}: {
  text: string;
  language: string;
  settled: boolean;
}) {
  return (
    <figure className="code">
      <figcaption>
        <span>{language || "text"}</span>
        <CopyButton text={text} label="Copy the code" />
      </figcaption>
      <pre tabIndex={0} aria-label={`${language || "text"} code`}>
        <code>{settled ? coloured(text, language) : <Grown text={text} />}</code>
      </pre>
    </figure>
  );
});

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text);
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button
      type="button"
      className="icon-button"
      onClick={() => void copy()}
      aria-label={copied ? "Copied" : label}
      title={label}
    >
      {copied ? <Check size={16} /> : <Copy size={16} />}
    </button>
  );
}

/** Over plain http on another machine there is no clipboard. */
function copyBySelection(text: string): void {
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "off-screen";
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}
