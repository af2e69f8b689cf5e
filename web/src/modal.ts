/** Dialogs: Escape and a click beside one close it. */

import { h } from "./dom";
import type { Child } from "./dom";

/** Opens a dialog, which goes when it is closed; the focus returns to where it was. */
export function modal(kind: string, name: string, ...content: Child[]): HTMLDialogElement {
  const box = h("dialog", { class: kind, "aria-label": name }, ...content);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  // Chromium closes a dialog a moment after the key: what is typed next would still go to it.
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    box.close();
    box.remove();
  });
  document.body.append(box);
  box.showModal();
  return box;
}
