/** Icons: 20 x 20, one stroke, the text's own colour. */
import type { ReactNode } from "react";

function icon(paths: ReactNode) {
  return function Icon({ size = 18 }: { size?: number }) {
    return (
      <svg
        width={size}
        height={size}
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.6"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        focusable="false"
      >
        {paths}
      </svg>
    );
  };
}

export const Send = icon(<path d="M10 16V4M5 9l5-5 5 5" />);
export const Stop = icon(
  <rect x="5.5" y="5.5" width="9" height="9" rx="1.5" fill="currentColor" />,
);
export const Copy = icon(
  <>
    <rect x="7" y="7" width="9" height="9" rx="2" />
    <path d="M4 12.5V6a2 2 0 0 1 2-2h6.5" />
  </>,
);
export const Check = icon(<path d="M4.5 10.5l3.5 3.5 7.5-8" />);
export const Again = icon(<path d="M15.5 10a5.5 5.5 0 1 1-1.8-4.1M15.8 3.5v3h-3" />);
export const Elsewhere = icon(
  <path d="M6 17v-5c0-4 7-3 7-9M6 17V3M10.500 5.500L13 3l2.500 2.500" />,
);
export const Edit = icon(
  <path d="M4 16l.8-3.2L13.200 4.400a1.400 1.400 0 0 1 2 0l.4.4a1.400 1.400 0 0 1 0 2L7.200 15.200z" />,
);
export const Up = icon(
  <path d="M7 9l3-5.500c1.400 0 2 .9 2 2V8h3.200a1.500 1.500 0 0 1 1.500 1.800l-.9 4.800a1.700 1.700 0 0 1-1.700 1.400H7M7 9v7M7 9H4.500a1 1 0 0 0-1 1v5a1 1 0 0 0 1 1H7" />,
);
export const Down = icon(
  <path d="M13 11l-3 5.500c-1.400 0-2-.9-2-2V12H4.800a1.500 1.500 0 0 1-1.500-1.800l.9-4.800A1.700 1.700 0 0 1 5.900 4H13M13 11V4M13 11h2.500a1 1 0 0 0 1-1V5a1 1 0 0 0-1-1H13" />,
);
export const Swap = icon(<path d="M4 7h11M12 4l3 3-3 3M16 13H5M8 10l-3 3 3 3" />);
export const Plus = icon(<path d="M10 4.500v11M4.500 10h11" />);
export const Search = icon(
  <>
    <circle cx="9" cy="9" r="5" />
    <path d="M13 13l3.500 3.500" />
  </>,
);
export const Menu = icon(<path d="M3.500 6h13M3.500 10h13M3.500 14h13" />);
export const Close = icon(<path d="M5.500 5.500l9 9M14.500 5.500l-9 9" />);
export const Trash = icon(
  <path d="M4 6h12M8 6V4.500A.5.5 0 0 1 8.500 4h3a.5.5 0 0 1 .5.500V6M5.500 6l.7 9a1.200 1.200 0 0 0 1.200 1h5.200a1.200 1.200 0 0 0 1.200-1l.7-9" />,
);
export const Export = icon(<path d="M10 3.500v9M6.500 9l3.500 3.500L13.500 9M4 16.500h12" />);
export const Image = icon(
  <>
    <rect x="3" y="4" width="14" height="12" rx="2" />
    <circle cx="7.500" cy="8.500" r="1.300" />
    <path d="M4 14l3.500-3 2.500 2 3-3.500 3.500 4" />
  </>,
);
export const Columns = icon(
  <>
    <rect x="3" y="4" width="14" height="12" rx="2" />
    <path d="M10 4v12" />
  </>,
);
export const Braces = icon(
  <path d="M8 4H7a2 2 0 0 0-2 2v2.300c0 .9-.7 1.700-1.500 1.700.8 0 1.500.8 1.500 1.700V14a2 2 0 0 0 2 2h1M12 4h1a2 2 0 0 1 2 2v2.300c0 .9.7 1.700 1.500 1.700-.8 0-1.500.8-1.500 1.700V14a2 2 0 0 1-2 2h-1" />,
);
export const Chevron = icon(<path d="M6 8l4 4 4-4" />);
export const Key = icon(
  <>
    <circle cx="7" cy="13" r="3.200" />
    <path d="M9.300 10.700L16 4M13.500 6.500l2 2" />
  </>,
);
export const Warn = icon(<path d="M10 3.500l7 12.500H3zM10 8.500v3.500M10 14v.1" />);
