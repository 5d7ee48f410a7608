import { createRoot } from "react-dom/client";
import { open } from "./api/gateway";
import { App } from "./App";
import { store } from "./chat/store";
import { listen } from "./ui/shortcuts";
import "./styles/base.css";
import "./styles/shell.css";

open();
listen();
addEventListener("pagehide", () => void store.flush());
const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
