/** Pictures in a question. Drawn on a canvas, so that the page needs no leave to load any image. */
import { useEffect, useRef } from "react";
import { Close } from "../ui/icons";

const LONGEST_SIDE = 1568;
const THUMB = 112;

/** A data URL, made smaller where it is larger than any model looks at. */
export async function pictureOf(file: Blob): Promise<string> {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && /^image\/(png|jpeg|webp|gif)$/.test(file.type) && file.size < 3_000_000) {
    bitmap.close();
    return dataUrl(file);
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL(file.type === "image/png" ? "image/png" : "image/jpeg", 0.88);
}

function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error("The picture cannot be read."));
    reader.readAsDataURL(file);
  });
}

function blobOf(url: string): Blob {
  const comma = url.indexOf(",");
  const type = url.slice(5, url.indexOf(";"));
  const bytes = Uint8Array.from(atob(url.slice(comma + 1)), (char) => char.charCodeAt(0));
  return new Blob([bytes], { type });
}

function Picture({ url, side, label }: { url: string; side: number; label: string }) {
  const host = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let gone = false;
    void createImageBitmap(blobOf(url))
      .then((bitmap) => {
        const canvas = host.current;
        if (gone || !canvas) return;
        const scale = Math.min(1, side / bitmap.height, (side * 2) / bitmap.width);
        const dots = devicePixelRatio || 1;
        canvas.width = Math.round(bitmap.width * scale * dots);
        canvas.height = Math.round(bitmap.height * scale * dots);
        canvas.style.width = `${canvas.width / dots}px`;
        canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
        bitmap.close();
      })
      .catch(() => undefined);
    return () => {
      gone = true;
    };
  }, [url, side]);
  return <canvas ref={host} width={side} height={side} role="img" aria-label={label} />;
}

export function Pictures({ urls, onRemove }: { urls: string[]; onRemove?: (at: number) => void }) {
  if (!urls.length) return null;
  return (
    <div className="pictures">
      {urls.map((url, at) => (
        <div className="thumb" key={url.slice(0, 80) + String(at)}>
          <Picture
            url={url}
            side={onRemove ? THUMB / 1.4 : THUMB * 2}
            label={`picture ${at + 1}`}
          />
          {onRemove && (
            <button
              type="button"
              className="icon-button"
              aria-label={`Remove picture ${at + 1}`}
              onClick={() => onRemove(at)}
            >
              <Close size={14} />
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
